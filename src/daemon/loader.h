#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "daemon/privileges.h"

namespace weir::daemon {

/// The process that starts nft. The engine itself can start nothing (seccomp.h); this one is forked
/// before, has no more rights than the engine but that, and waits for files to load. nft reads a
/// copy in memory of the file that it is handed, so it needs no right to read the file itself;
/// files that are included must be readable by the engine's user. nft is known to the engine by a
/// group that only this process and its children have.
class Loader {
 public:
  struct Options {
    Confinement confinement;  // Its groups let nft connect, and tell the engine who it is.
    std::string socket_path;
  };

  /// Forks: before any thread is started, and before privileges are dropped. Errors: what fork and
  /// socketpair give.
  static Result<std::unique_ptr<Loader>> start(const Options& options);
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// Has nft load an open file; `name` is what messages call it. `serve` is called again and again
  /// meanwhile: it lets the caller answer nft. Errors: EINVAL with nft's own message when it
  /// refuses the file; ENOENT when nft or the preload library is missing, saying how to get it;
  /// EPIPE when the process has died.
  Result<void> load(const FileDescriptor& file, const std::string& name,
                    const std::function<void()>& serve);

 private:
  Loader(FileDescriptor socket, pid_t pid) : socket_(std::move(socket)), pid_(pid) {}

  FileDescriptor socket_;
  pid_t pid_;
};

}  // namespace weir::daemon
