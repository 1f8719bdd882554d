#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "packet/packet.h"

namespace weir::packet {

/// Room before every frame: for tags and headers that are put in front.
inline constexpr std::uint32_t kHeadroomBytes = 128;
/// Frames up to this live in small buffers, longer ones (up to 64 KB segments) in large ones.
inline constexpr std::uint32_t kSmallFrameBytes = 2048;
/// The longest is IPv6's 40 + 65,535, with room for what a helper's rewrite adds and for the
/// lengths of a reassembled datagram's pieces.
inline constexpr std::uint32_t kLargeFrameBytes = 14 + 40 + 65535 + 512 + 2 * kMaxPieces;

/// A fixed number of packets of each class, made once. Owned and used by one worker, without locks.
/// A packet goes back to the pool that it came from.
class Pool {
 public:
  Pool(std::size_t small_count, std::size_t large_count);
  ~Pool();
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  /// A reset packet with room for `frame_bytes` behind the headroom; null when none is left or the
  /// frame is longer than kLargeFrameBytes.
  Packet* take(std::uint32_t frame_bytes);
  void release(Packet* packet);

  std::size_t small_free() const { return small_.size(); }
  std::size_t large_free() const { return large_.size(); }

 private:
  void make(std::vector<Packet*>& list, std::size_t count, BufferClass buffer_class,
            std::uint32_t capacity_bytes);

  std::vector<Packet*> small_;
  std::vector<Packet*> large_;
  std::vector<std::unique_ptr<Packet[]>> packets_;
  struct Mapping {
    void* at;
    std::size_t bytes;
  };
  std::vector<Mapping> mappings_;
};

}  // namespace weir::packet
