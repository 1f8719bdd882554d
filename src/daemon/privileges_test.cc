#include "daemon/privileges.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>

#include "base/temporary_folder.h"

namespace weir::daemon {
namespace {

/// What the child of a test has found: a bit for each thing that it could do.
enum Could : unsigned {
  write_outside = 1,
  write_inside = 2,
  read_outside = 4,
  run_program = 8,
  fork_process = 16,
  open_packet_socket = 32,
  start_thread = 64,
  become_root = 128,
  remove_outside = 256,
};

bool can_write(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT, 0644);
  if (fd >= 0) close(fd);
  return fd >= 0;
}

bool can_run() {
  char name[] = "/bin/true";
  char* words[] = {name, nullptr};
  pid_t pid = 0;
  if (posix_spawn(&pid, name, nullptr, nullptr, words, nullptr) != 0) return false;
  int status = 0;
  return waitpid(pid, &status, 0) == pid && status == 0;
}

bool can_fork() {
  const pid_t pid = fork();
  if (pid == 0) _exit(0);
  if (pid > 0) waitpid(pid, nullptr, 0);
  return pid > 0;
}

bool can_start_thread() {
  pthread_t thread{};
  const auto body = [](void*) -> void* { return nullptr; };
  return pthread_create(&thread, nullptr, body, nullptr) == 0 && pthread_join(thread, nullptr) == 0;
}

unsigned try_everything(const std::string& inside, const std::string& outside) {
  unsigned could = 0;
  if (can_write(outside + "/new")) could |= write_outside;
  if (can_write(outside + "/open-to-all")) could |= write_outside;
  if (unlink((outside + "/open-to-all").c_str()) == 0) could |= remove_outside;
  if (can_write(inside + "/new")) could |= write_inside;
  if (access("/etc/passwd", R_OK) == 0) could |= read_outside;
  if (can_run()) could |= run_program;
  if (can_fork()) could |= fork_process;
  if (socket(AF_PACKET, SOCK_RAW, 0) >= 0) could |= open_packet_socket;
  if (can_start_thread()) could |= start_thread;
  if (setuid(0) == 0) could |= become_root;
  return could;
}

class Privileges : public testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root to give it up";
    identity_ = find_identity("nobody").value();
    folder_.emplace(std::move(*TemporaryFolder::make("privileges")));
    outside_ = folder_->file("outside");
    inside_ = folder_->file("inside");
    ASSERT_EQ(chmod(folder_->path().c_str(), 0755), 0);
    ASSERT_EQ(mkdir(outside_.c_str(), 0777), 0);
    ASSERT_EQ(chmod(outside_.c_str(), 0777), 0);
    ASSERT_TRUE(can_write(outside_ + "/open-to-all"));
    ASSERT_EQ(chmod((outside_ + "/open-to-all").c_str(), 0666), 0);
    ASSERT_TRUE(prepare_folder(inside_, identity_));
  }

  /// What is found by a child that calls `begin` first; too large when that fails.
  template <typename Begin>
  unsigned in_child(Begin&& begin) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    const pid_t pid = fork();
    if (pid == 0) {
      const unsigned could = begin() ? try_everything(inside_, outside_) : ~0U;
      _exit(write(ends[1], &could, sizeof could) == sizeof could ? 0 : 1);
    }
    close(ends[1]);
    unsigned could = ~0U;
    EXPECT_EQ(read(ends[0], &could, sizeof could), static_cast<ssize_t>(sizeof could));
    close(ends[0]);
    waitpid(pid, nullptr, 0);
    return could;
  }

  Identity identity_;
  std::optional<TemporaryFolder> folder_;
  std::string inside_, outside_;
};

TEST_F(Privileges, RootCanDoAllOfIt) {
  EXPECT_EQ(in_child([] { return true; }), write_outside | write_inside | read_outside |
                                               run_program | fork_process | open_packet_socket |
                                               start_thread | become_root | remove_outside);
}

TEST_F(Privileges, TheEngineWritesItsFolderAlone) {
  const auto engine = [&] {
    return drop_privileges(
               {.identity = identity_, .writable_folder = inside_, .only_engine_calls = true})
        .has_value();
  };
  EXPECT_EQ(in_child(engine), write_inside | read_outside | start_thread);
}

TEST_F(Privileges, AUserCalledRootIsConfinedToo) {
  const Identity root{.name = "root", .uid = 0, .gid = 0};
  const auto engine = [&] {
    return drop_privileges(
               {.identity = root, .writable_folder = inside_, .only_engine_calls = true})
        .has_value();
  };
  // The folder is another user's, and without capabilities root is just a user.
  EXPECT_EQ(in_child(engine) & ~become_root, read_outside | start_thread);
}

TEST_F(Privileges, TheLoaderStartsProgramsAndWritesNothing) {
  const auto loader = [&] { return drop_privileges({.identity = identity_}).has_value(); };
  EXPECT_EQ(in_child(loader), read_outside | run_program | fork_process | start_thread);
}

TEST_F(Privileges, ThePrivilegedProcessStartsNothing) {
  const auto host = [] {
    keep_host_privileges();
    return true;
  };
  EXPECT_EQ(in_child(host) & (run_program | fork_process | start_thread | open_packet_socket),
            open_packet_socket);
}

TEST_F(Privileges, FilesAreMadeAsTheUserWhileAnIdentityHolds) {
  ASSERT_EQ(chmod(outside_.c_str(), 0700), 0);
  {
    const FileIdentity as_user(identity_);
    EXPECT_FALSE(can_write(outside_ + "/other"));
    EXPECT_TRUE(can_write(inside_ + "/own"));
  }
  EXPECT_TRUE(can_write(outside_ + "/other"));
  struct stat found{};
  ASSERT_EQ(stat((inside_ + "/own").c_str(), &found), 0);
  EXPECT_EQ(found.st_uid, identity_.uid);
}

TEST(Identity, AnUnknownUserIsRefused) {
  const auto found = find_identity("nobody-of-this-name");
  ASSERT_FALSE(found);
  EXPECT_NE(found.error().text.find("nobody-of-this-name"), std::string::npos);
}

}  // namespace
}  // namespace weir::daemon
