#pragma once

#include <sys/types.h>

#include <string>

#include "base/error.h"
#include "base/file_descriptor.h"

namespace weir::control {

/// The engine's unix socket: one engine a path. A lock file beside the socket (PATH.lock, flock)
/// says whether an engine lives; a socket without its lock held is what a dead engine left, and
/// replaced.
class Listener {
 public:
  /// `mode` is the socket file's: who may connect at all. Errors: EADDRINUSE when another engine
  /// serves this path; what the system calls give.
  static Result<Listener> open(const std::string& path, mode_t mode);

  Listener(Listener&&) = default;
  Listener& operator=(Listener&&) = delete;
  /// Removes the socket and the lock.
  ~Listener();

  int get() const { return socket_.get(); }

 private:
  Listener(std::string path, FileDescriptor lock)
      : path_(std::move(path)), lock_(std::move(lock)) {}

  std::string path_;
  FileDescriptor lock_;
  FileDescriptor socket_;
};

}  // namespace weir::control
