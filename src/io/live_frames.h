#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/error.h"
#include "io/bpf/live_slot.h"
#include "io/fd_mapping.h"

namespace weir::io {

/// Sends frames without a socket and without a socket buffer for each: they are put into memory
/// that is shared with the port's XDP program (bpf/xdp.bpf.c), and one system call runs the program
/// on as many empty frames, which it fills and redirects to the device. A call costs about 13 us
/// and 0.15 us a frame, so many go in one,
/// and a few by an AF_PACKET socket instead. Frames that the device or its peer has no room for are
/// lost unnoticed. One worker's; works on descriptors that stay the caller's.
class LiveFrames {
 public:
  struct Options {
    int program = -1;
    int slots = -1;  // The maps of the program.
    int control = -1;
    int sender = -1;  // Of open_packet_sender().
    std::uint32_t workers = 1;
    std::uint32_t worker = 0;
  };
  static Result<LiveFrames> make(const Options& options);

  /// False when the frame is too long, or none of those that wait could be sent.
  bool put(Bytes frame);
  /// Sends what waits. Returns how many frames could not be sent, which are forgotten.
  std::size_t kick();

  static constexpr std::size_t kMaxFrameBytes = WEIR_LIVE_FRAME_BYTES;

 private:
  explicit LiveFrames(const Options& options) : options_(options) {}
  std::uint64_t waiting() const { return put_ - taken(); }
  std::uint64_t taken() const;
  void send_few();
  void run(std::uint32_t count, std::uint32_t first_bytes);

  Options options_;
  FdMapping slot_memory_;
  FdMapping control_memory_;
  weir_live_slot* slots_ = nullptr;  // This worker's.
  weir_live_control* control_ = nullptr;
  std::uint64_t put_ = 0;
};

}  // namespace weir::io
