#include "daemon/notify.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>

namespace weir::daemon {
namespace {

/// Takes a number out of the environment.
std::optional<std::uint64_t> take_number(const char* variable) {
  const char* const text = std::getenv(variable);
  if (text == nullptr) return std::nullopt;
  std::uint64_t number = 0;
  const char* const end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, number);
  const bool is_number = error == std::errc{} && rest == end;
  unsetenv(variable);
  return is_number ? std::optional(number) : std::nullopt;
}

bool is_us(std::optional<std::uint64_t> pid) {
  return pid && *pid == static_cast<std::uint64_t>(getpid());
}

/// `name` is a path, or begins with @ for an abstract name.
FileDescriptor connect_to(std::string_view name) {
  sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
  if (name.empty() || name.size() >= sizeof address.sun_path) return {};
  name.copy(address.sun_path, name.size());
  socklen_t size = offsetof(sockaddr_un, sun_path) + static_cast<socklen_t>(name.size());
  if (name.front() == '@') {
    address.sun_path[0] = 0;
  } else {
    ++size;
  }
  FileDescriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), size) != 0) return {};
  return socket;
}

bool is_listening_unix_stream(int fd) {
  const auto option = [fd](int name) {
    int value = -1;
    socklen_t size = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
  };
  return option(SO_DOMAIN) == AF_UNIX && option(SO_TYPE) == SOCK_STREAM &&
         option(SO_ACCEPTCONN) == 1;
}

}  // namespace

ServiceManager ServiceManager::from_environment() {
  ServiceManager manager;
  if (const char* const name = std::getenv("NOTIFY_SOCKET")) manager.socket_ = connect_to(name);
  unsetenv("NOTIFY_SOCKET");
  const auto microseconds = take_number("WATCHDOG_USEC");
  const bool has_pid = std::getenv("WATCHDOG_PID") != nullptr;
  const bool is_ours = is_us(take_number("WATCHDOG_PID")) || !has_pid;
  if (microseconds && is_ours && manager.is_there())
    manager.watchdog_ = std::chrono::microseconds(*microseconds);
  return manager;
}

void ServiceManager::reloading() const {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  const std::uint64_t microseconds = static_cast<std::uint64_t>(now.tv_sec) * 1'000'000 +
                                     static_cast<std::uint64_t>(now.tv_nsec) / 1'000;
  send(fmt::format("RELOADING=1\nMONOTONIC_USEC={}", microseconds));
}

void ServiceManager::send(const std::string& message) const {
  // What finds no room is lost: the next word of its kind follows soon, and READY, the one that
  // counts, comes when nothing else waits.
  if (is_there()) ::send(socket_.get(), message.data(), message.size(), MSG_NOSIGNAL);
}

FileDescriptor inherited_listener() {
  constexpr int kFirst = 3;  // SD_LISTEN_FDS_START
  constexpr std::uint64_t kMost = 64;
  const bool is_ours = is_us(take_number("LISTEN_PID"));
  const auto count = take_number("LISTEN_FDS");
  unsetenv("LISTEN_FDNAMES");
  FileDescriptor listener;
  if (!is_ours || !count || *count > kMost) return listener;
  for (int fd = kFirst; fd < kFirst + static_cast<int>(*count); ++fd) {
    FileDescriptor given(fd);
    if (!listener.is_open() && is_listening_unix_stream(fd)) listener = std::move(given);
  }
  if (listener.is_open()) {
    fcntl(listener.get(), F_SETFD, FD_CLOEXEC);
    fcntl(listener.get(), F_SETFL, O_NONBLOCK);
  }
  return listener;
}

std::string path_of(const FileDescriptor& socket) {
  sockaddr_un address{};
  socklen_t size = sizeof address - 1;  // A path that fills it still ends with a zero.
  if (getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0) return {};
  return address.sun_path;
}

}  // namespace weir::daemon
