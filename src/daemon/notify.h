#pragma once

#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/file_descriptor.h"

namespace weir::daemon {

/// What systemd's service manager is told (sd_notify(3)): datagrams to the socket that it names in
/// NOTIFY_SOCKET. Without one nothing is sent. Never waits.
class ServiceManager {
 public:
  /// Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID out of the environment, so that no tool
  /// that weir starts speaks in its name. Before other threads start.
  static ServiceManager from_environment();

  bool is_there() const { return socket_.is_open(); }
  /// How often it must be told alive() to leave the service alone; zero: it doesn't watch.
  Duration watchdog() const { return watchdog_; }

  void ready() const { send("READY=1"); }
  /// Until ready() again.
  void reloading() const;
  void stopping() const { send("STOPPING=1"); }
  void alive() const { send("WATCHDOG=1"); }
  /// One line for `systemctl status`.
  void status(std::string_view line) const { send("STATUS=" + std::string(line)); }

 private:
  void send(const std::string& message) const;

  FileDescriptor socket_;  // Connected.
  Duration watchdog_{};
};

/// The descriptor of a listening unix stream socket that systemd has opened (sd_listen_fds(3):
/// LISTEN_PID, LISTEN_FDS), not open when there is none; the variables leave the environment.
/// Other descriptors that came with it are closed.
FileDescriptor inherited_listener();

/// The path that a unix socket is bound to; empty for none.
std::string path_of(const FileDescriptor& socket);

}  // namespace weir::daemon
