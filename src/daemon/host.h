#pragma once

#include <sys/types.h>

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/file_descriptor.h"
#include "daemon/settings.h"
#include "routing/neighbours.h"

namespace weir::daemon {

/// A port as the engine wants it opened.
struct PortRequest {
  std::uint16_t port = 0;    // Its number; opening it again replaces what it had.
  std::string device;        // "eth1"
  std::string driver;        // As in the settings: "auto" or a driver's name.
  std::uint16_t queues = 1;  // One for each worker.
};

/// What an open port is made of (io/af_packet.h, host_tap.h, af_xdp.h). The numbers go over the
/// socketpair; add at the end.
enum class HandleKind : std::uint8_t {
  packet,    // AF_PACKET sockets, bound, with filter and receive ring.
  tap,       // Queues of the port's TAP.
  xdp_link,  // What follows: see io::XdpDescriptors.
  xdp_program,
  xdp_socket,
  live_slots,
  live_control,
  sender,
};
inline constexpr std::size_t kHandleKinds = 8;

/// An open port: descriptors that only privileges could make. The engine owns them; the tc programs
/// that keep the kernel off the port stay with the privileged process until close_port().
struct PortHandles {
  std::uint32_t ifindex = 0;
  std::uint32_t tap_ifindex = 0;
  std::string driver;      // What "auto" has come to.
  bool is_native = false;  // With af_xdp: not the generic mode.
  std::array<std::vector<FileDescriptor>, kHandleKinds> handles;

  std::vector<FileDescriptor>& of(HandleKind kind) {
    return handles[static_cast<std::size_t>(kind)];
  }
};

/// A file that was named when weir started, and that perhaps only root may read.
enum class HostFile : std::uint8_t { rules, config };

/// What the engine asks of the host beyond its own rights.
///
/// start() forks the privileged process: one thread, no configuration, no packets, no netlink from
/// others, only requests of a fixed size that are checked on both sides (host_protocol.h). It keeps
/// what it changed on the host, and ends when the engine ends: by finish(), which undoes all of it,
/// or by the engine's death (its end of the socketpair closes), where `fail_policy` decides: closed
/// leaves the tc programs, which drop; open removes them.
///
/// Used by the control thread alone, but for beat().
class Host {
 public:
  /// Forks. Call before any thread is started and before privileges are dropped. `config` is the
  /// path of the configuration file, empty for none. Errors: what fork and socketpair give.
  static Result<std::unique_ptr<Host>> start(const Settings& settings, const std::string& config);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  /// Opens a port, first or again (the device was gone and is back). Errors: ENODEV when there is
  /// no such device; EPERM when the privileged process itself lacks rights, saying which; EPIPE
  /// when it is gone.
  Result<PortHandles> open_port(const PortRequest& request);
  /// Gives the device back to the host. Nothing happens when the port isn't open.
  void close_port(std::uint16_t port);

  /// Has the kernel resolve or confirm a neighbour (RTM_NEWNEIGH with NTF_USE), as if it had a
  /// packet for it. The answer is a notification to whoever listens. Never waits; a question that
  /// finds no room is lost, and is asked again by whoever still needs it.
  void ask_neighbour(const routing::NeighbourKey& key);

  /// Opens a file that was named when weir started, for reading, with root's rights.
  Result<FileDescriptor> open_file(HostFile file);

  /// Undoes everything, removes the socket file, and ends the privileged process. True when it
  /// reported that all of it was done.
  bool finish();

  /// Readable when the privileged process has died.
  int fd() const { return socket_.get(); }
  pid_t pid() const { return pid_; }

  /// From any worker, each round: the engine is alive and forwards. With `fail_policy` open the tc
  /// programs let the kernel have what it could have without weir when this has not been called for
  /// a second. Does nothing when the policy is closed.
  void beat(Time now) {
    if (heartbeat_ != nullptr)
      heartbeat_->store(static_cast<std::uint64_t>(now.time_since_epoch().count()),
                        std::memory_order_relaxed);
  }
  /// Between two beats at most, also when there are no packets; zero when nobody listens to them.
  Duration beat_every() const {
    return heartbeat_ == nullptr ? Duration{} : Duration(std::chrono::milliseconds(200));
  }

 private:
  Host(FileDescriptor socket, pid_t pid) : socket_(std::move(socket)), pid_(pid) {}

  FileDescriptor socket_;
  pid_t pid_ = -1;
  std::atomic<std::uint64_t>* heartbeat_ = nullptr;  // In a BPF map that the tc programs read.
};

}  // namespace weir::daemon
