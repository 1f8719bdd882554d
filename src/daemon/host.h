#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "daemon/heartbeat.h"
#include "daemon/settings.h"
#include "io/fd_mapping.h"
#include "io/wire_port.h"
#include "routing/mirror.h"

namespace weir::daemon {

/// An open port: descriptors that only privileges could make. The engine owns them; the tc programs
/// that keep the kernel off the port stay with the privileged process until close_port().
struct PortHandles {
  io::WirePort wire;
  std::uint32_t tap_ifindex = 0;
  std::vector<FileDescriptor> taps;  // Queues of the port's TAP, one for each worker.
};

/// A file that was named when weir started, and that perhaps only root may read.
enum class HostFile : std::uint8_t { rules, config };

/// What the privileged process knows from the start. A request can't add to it.
struct HostOptions {
  Settings settings;
  std::function<Result<Settings>()> reread;  // The settings as they would be if weir started now.
  std::string config;                        // The configuration file; empty for none.
  bool takes_over = false;  // Another engine has the ports still, and gives them up.
};

/// What the engine asks of the host beyond its own rights.
///
/// start() forks the privileged process (keeper.cc): one thread, no packets, no netlink from
/// others, only requests of a fixed size (host_protocol.h) about the ports and files of the
/// settings. It keeps what it changed on the host, and ends when the engine ends: by finish(),
/// which undoes all of it, or by the engine's death (its end of the socketpair closes), where
/// `fail_policy` decides: closed leaves the tc programs, which drop; open removes them.
///
/// Used by the control thread alone.
class Host final : public routing::NeighbourAsker {
 public:
  /// Forks: before any thread is started, and before privileges are dropped. Errors: what fork and
  /// socketpair give.
  static Result<std::unique_ptr<Host>> start(const HostOptions& options);
  ~Host() override;
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  /// Opens a device of the settings, first or again (it was gone and is back), as the port of that
  /// number. Errors: ENODEV when there is no such device, or the settings don't name it; EBUSY when
  /// another engine has it; EPERM when the privileged process itself lacks rights, saying which;
  /// EPIPE when it has died.
  Result<PortHandles> open_port(std::uint16_t port, const std::string& device);
  /// Gives the device back to the host. Nothing happens when the port isn't open.
  void close_port(std::uint16_t port);

  /// Never waits; a question that finds no room is lost, and asked again by who still needs it.
  void ask_neighbour(const routing::NeighbourKey& key) override;

  /// Opens a file for reading, with the privileged process's rights. Errors: what open gives;
  /// ENOENT when none was named.
  Result<FileDescriptor> open_file(HostFile file);

  /// The privileged process reads the configuration again, for the ports and the file of rules that
  /// it may open. Errors: what is wrong with it; then nothing has changed.
  Result<void> reload();

  struct End {
    bool has_failed = false;   // The start has: what a dead engine left closed stays closed.
    bool owns_socket = false;  // The socket's file is ours to remove.
    bool leaves = false;       // Another engine has our place: nothing is undone.
  };
  /// Undoes everything and ends the privileged process. False when that had died before.
  bool finish(const End& end);

  /// Readable when the privileged process has died.
  int fd() const { return socket_.get(); }
  pid_t pid() const { return pid_; }
  /// Heard with `fail_policy` open, once a port has been opened.
  Heartbeat heartbeat() const { return heartbeat_; }

 private:
  Host(FileDescriptor socket, pid_t pid) : socket_(std::move(socket)), pid_(pid) {}
  FileDescriptor socket_;
  pid_t pid_;
  io::FdMapping beats_;
  Heartbeat heartbeat_;
};

}  // namespace weir::daemon
