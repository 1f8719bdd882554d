#include "tests/support/run_program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>

extern char** environ;

namespace weir::test {

namespace {

/// A file in memory, so that neither side can block on a full pipe.
class Scratch {
 public:
  Scratch() : fd_(memfd_create("scenario", MFD_CLOEXEC)) {}
  ~Scratch() { close(fd_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  int fd() const { return fd_; }

  void write_all(const std::string& text) const {
    std::size_t done = 0;
    while (done < text.size()) {
      const ssize_t n = ::write(fd_, text.data() + done, text.size() - done);
      if (n <= 0) return;
      done += static_cast<std::size_t>(n);
    }
    lseek(fd_, 0, SEEK_SET);
  }

  std::string read_all() const {
    std::string text;
    std::array<char, 4096> buffer;
    off_t at = 0;
    for (ssize_t n; (n = pread(fd_, buffer.data(), buffer.size(), at)) > 0; at += n) {
      text.append(buffer.data(), static_cast<std::size_t>(n));
    }
    return text;
  }

 private:
  int fd_;
};

}  // namespace

Result<std::string> run_program(const std::vector<std::string>& words, const std::string& input,
                                const RunOptions& options) {
  const Scratch in;
  const Scratch out;
  const Scratch err;
  in.write_all(input);
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);

  std::vector<char*> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) environment.push_back(*entry);
  for (const std::string& entry : options.environment) {
    environment.push_back(const_cast<char*>(entry.c_str()));
  }
  environment.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.fd(), 0);
  posix_spawn_file_actions_adddup2(&actions, out.fd(), 1);
  posix_spawn_file_actions_adddup2(&actions, err.fd(), 2);
  pid_t pid = 0;
  const int code =
      posix_spawnp(&pid, arguments[0], &actions, nullptr, arguments.data(), environment.data());
  posix_spawn_file_actions_destroy(&actions);
  if (code != 0) {
    errno = code;
    return std::unexpected(system_error(words[0]));
  }
  int status = 0;
  const int flags = options.meanwhile ? WNOHANG : 0;
  for (;;) {
    const pid_t ended = waitpid(pid, &status, flags);
    if (ended == pid || (ended < 0 && errno != EINTR)) break;
    if (options.meanwhile) options.meanwhile();
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return out.read_all();
  return std::unexpected(
      Error{EINVAL, fmt::format("{}: {}{}", words[0], err.read_all(), out.read_all())});
}

}  // namespace weir::test
