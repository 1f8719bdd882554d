#pragma once

#include <sys/types.h>

#include <string>

#include "base/error.h"
#include "base/file_descriptor.h"

namespace weir::control {

/// Whose the socket's file is, and who may connect at all.
struct SocketFile {
  mode_t mode = 0666;
  uid_t owner = static_cast<uid_t>(-1);  // Minus one: as it was made.
  gid_t group = static_cast<gid_t>(-1);
  /// The listening socket that a service manager has opened: the listener's from then on, with the
  /// owner, group and mode that it has, and its file stays when we go. Minus one: there is none.
  int inherited = -1;
};

/// The engine's unix socket: one engine a path. A lock file beside the socket (PATH.lock, flock)
/// says whether an engine lives; a socket without its lock held is what a dead engine left, and
/// replaced.
class Listener {
 public:
  /// Errors: EADDRINUSE when another engine serves this path; what the system calls give.
  static Result<Listener> open(const std::string& path, const SocketFile& file);

  /// The socket and the lock that another engine hands over: its clients notice nothing.
  static Listener adopt(const std::string& path, FileDescriptor lock, FileDescriptor socket);

  Listener(Listener&&) = default;
  Listener& operator=(Listener&&) = delete;
  /// Removes the socket and the lock, unless they have been handed over.
  ~Listener();

  /// Another engine has them by now: they stay when we go.
  void leave() { is_ours_ = false; }

  /// Removes what an engine at that path has left, or leaves without the right to remove it.
  static void remove_files(const std::string& path);
  /// Whether an engine serves that path.
  static bool is_served(const std::string& path);

  int get() const { return socket_.get(); }
  int lock() const { return lock_.get(); }

 private:
  Listener(std::string path, FileDescriptor lock)
      : path_(std::move(path)), lock_(std::move(lock)) {}

  std::string path_;
  FileDescriptor lock_;
  FileDescriptor socket_;
  bool is_ours_ = true;
};

}  // namespace weir::control
