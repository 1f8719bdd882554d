#include "daemon/notify.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace weir::daemon {
namespace {

using namespace std::chrono_literals;

/// In systemd's place: listens at a name, which may begin with @.
class Listener {
 public:
  explicit Listener(const std::string& name)
      : socket_(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0)) {
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    name.copy(address.sun_path, name.size());
    if (name[0] == '@') address.sun_path[0] = 0;
    const auto size = offsetof(sockaddr_un, sun_path) + name.size() + (name[0] != '@');
    EXPECT_EQ(
        bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), static_cast<socklen_t>(size)),
        0);
  }
  std::string next() const {
    char buffer[256];
    const ssize_t got = recv(socket_.get(), buffer, sizeof buffer, 0);
    return got < 0 ? "nothing" : std::string(buffer, static_cast<std::size_t>(got));
  }

 private:
  FileDescriptor socket_;
};

TEST(ServiceManager, IsToldOverItsSocket) {
  const std::string abstract = fmt::format("@weir-notify-test-{}", getpid());
  for (const std::string& name : {abstract, fmt::format("/tmp/weir-notify-test-{}", getpid())}) {
    const Listener listener(name);
    setenv("NOTIFY_SOCKET", name.c_str(), 1);
    setenv("WATCHDOG_USEC", "3000000", 1);
    setenv("WATCHDOG_PID", std::to_string(getpid()).c_str(), 1);
    const ServiceManager manager = ServiceManager::from_environment();
    if (name[0] == '/') unlink(name.c_str());
    ASSERT_TRUE(manager.is_there());
    EXPECT_EQ(manager.watchdog(), 3s);
    for (const char* variable : {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})
      EXPECT_EQ(std::getenv(variable), nullptr) << variable;
    manager.ready();
    manager.status("2 ports");
    manager.reloading();
    manager.stopping();
    EXPECT_EQ(listener.next(), "READY=1");
    EXPECT_EQ(listener.next(), "STATUS=2 ports");
    EXPECT_TRUE(listener.next().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    EXPECT_EQ(listener.next(), "STOPPING=1");
    EXPECT_EQ(listener.next(), "nothing");
  }
}

TEST(ServiceManager, IsNotThereWithoutASocket) {
  setenv("WATCHDOG_USEC", "3000000", 1);
  const ServiceManager manager = ServiceManager::from_environment();
  EXPECT_FALSE(manager.is_there());
  EXPECT_EQ(manager.watchdog(), 0s);
  manager.ready();
}

TEST(ServiceManager, WatchesOnlyWhomItNames) {
  const std::string name = fmt::format("@weir-notify-test-{}", getpid());
  const Listener listener(name);
  setenv("NOTIFY_SOCKET", name.c_str(), 1);
  setenv("WATCHDOG_USEC", "3000000", 1);
  setenv("WATCHDOG_PID", "1", 1);
  EXPECT_EQ(ServiceManager::from_environment().watchdog(), 0s);
}

/// In a process of its own: descriptor 3 is the test program's.
TEST(InheritedListener, IsTheFirstThatListens) {
  const pid_t child = fork();
  if (child == 0) {
    const int datagram = socket(AF_UNIX, SOCK_DGRAM, 0);
    const int stream = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un any{.sun_family = AF_UNIX, .sun_path = {}};
    bind(stream, reinterpret_cast<sockaddr*>(&any), sizeof any.sun_family);
    listen(stream, 1);
    dup2(datagram, 63);
    dup2(stream, 64);
    dup2(63, 3);
    dup2(64, 4);
    setenv("LISTEN_FDS", "2", 1);
    setenv("LISTEN_PID", std::to_string(getpid()).c_str(), 1);
    const FileDescriptor got = inherited_listener();
    const bool is_closed = fcntl(3, F_GETFD) == -1;
    const bool is_kept_from_children = fcntl(4, F_GETFD) == FD_CLOEXEC;
    _exit(got.get() == 4 && is_closed && is_kept_from_children &&
                  std::getenv("LISTEN_FDS") == nullptr
              ? 0
              : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(InheritedListener, IsNoneForAnotherProcess) {
  setenv("LISTEN_FDS", "1", 1);
  setenv("LISTEN_PID", "1", 1);
  EXPECT_FALSE(inherited_listener().is_open());
}

}  // namespace
}  // namespace weir::daemon
