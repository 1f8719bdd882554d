#include "control/server/listener.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace weir::control {
namespace {

constexpr int kBacklog = 128;

std::string lock_path(const std::string& path) { return path + ".lock"; }

/// Makes the directory of the socket when only that is missing (/run/weir after a boot).
void make_directory(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash != std::string::npos && slash > 0) mkdir(path.substr(0, slash).c_str(), 0755);
}

/// Whether the locked file is still the one at its path: an engine that ends removes it.
bool is_current(int lock, const std::string& path) {
  struct stat held{};
  struct stat named{};
  return fstat(lock, &held) == 0 && stat(path.c_str(), &named) == 0 &&
         held.st_dev == named.st_dev && held.st_ino == named.st_ino;
}

Result<FileDescriptor> take_lock(const std::string& path) {
  const std::string name = lock_path(path);
  for (;;) {
    FileDescriptor lock(open(name.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
    if (!lock.is_open()) return std::unexpected(system_error("cannot open the lock file " + name));
    if (flock(lock.get(), LOCK_EX | LOCK_NB) < 0) {
      if (errno == EWOULDBLOCK) {
        return std::unexpected(
            Error{EADDRINUSE, "another weir engine serves " + path +
                                  ": stop it, or choose another socket with --socket"});
      }
      return std::unexpected(system_error("cannot lock " + name));
    }
    if (is_current(lock.get(), name)) return lock;
  }
}

}  // namespace

Result<Listener> Listener::open(const std::string& path, const SocketFile& file) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return std::unexpected(
        Error{ENAMETOOLONG, "the socket path " + path + " is empty or too long"});
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);

  make_directory(path);
  auto lock = take_lock(path);
  if (!lock) return std::unexpected(std::move(lock).error());
  if (file.inherited >= 0) {
    Listener listener = adopt(path, std::move(*lock), FileDescriptor(file.inherited));
    listener.leave();
    return listener;
  }
  FileDescriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket.is_open()) return std::unexpected(system_error("cannot make a unix socket"));
  unlink(path.c_str());
  if (bind(socket.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) < 0) {
    return std::unexpected(system_error("cannot make the socket " + path));
  }
  Listener listener(path, std::move(*lock));
  listener.socket_ = std::move(socket);
  if (chown(path.c_str(), file.owner, file.group) < 0 || chmod(path.c_str(), file.mode) < 0) {
    return std::unexpected(system_error("cannot set owner and mode of " + path));
  }
  if (listen(listener.get(), kBacklog) < 0) {
    return std::unexpected(system_error("cannot listen at " + path));
  }
  return listener;
}

Listener Listener::adopt(const std::string& path, FileDescriptor lock, FileDescriptor socket) {
  Listener listener(path, std::move(lock));
  listener.socket_ = std::move(socket);
  return listener;
}

Listener::~Listener() {
  if (socket_.is_open() && is_ours_) remove_files(path_);
}

void Listener::remove_files(const std::string& path) {
  unlink(path.c_str());
  unlink(lock_path(path).c_str());
}

bool Listener::is_served(const std::string& path) {
  const FileDescriptor lock(::open(lock_path(path).c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
  return lock.is_open() && flock(lock.get(), LOCK_SH | LOCK_NB) < 0;
}

}  // namespace weir::control
