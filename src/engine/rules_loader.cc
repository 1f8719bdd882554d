#include "engine/rules_loader.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <vector>

#include "base/preload_library.h"
#include "io/file_descriptor.h"

namespace weir::engine {
namespace {

/// This process's environment with the preload library and the engine's socket in it.
std::vector<std::string> environment_for(const std::string& library, const std::string& socket_path) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!text.starts_with("LD_PRELOAD=") && !text.starts_with("WEIR_SOCKET=")) environment.emplace_back(text);
  }
  environment.push_back("LD_PRELOAD=" + library);
  environment.push_back("WEIR_SOCKET=" + socket_path);
  return environment;
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> list;
  for (std::string& text : texts) list.push_back(text.data());
  list.push_back(nullptr);
  return list;
}

/// A child whose standard output and error come to us.
struct Child {
  pid_t pid = 0;
  io::FileDescriptor output;
};

Result<Child> start(std::vector<std::string> words, std::vector<std::string> environment) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return std::unexpected(system_error("pipe"));
  Child child{.pid = 0, .output = io::FileDescriptor(ends[0])};
  const io::FileDescriptor write_end(ends[1]);
  fcntl(ends[0], F_SETFL, O_NONBLOCK);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  const int error = posix_spawnp(&child.pid, words[0].c_str(), &actions, &attributes, pointers(words).data(), pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return std::unexpected(Error{error, "starting " + words[0] + ": it must be in PATH (Debian: apt install nftables)"});
  return child;
}

void drain(int fd, std::string& into) {
  std::array<char, 4096> buffer;
  ssize_t got = 0;
  while ((got = read(fd, buffer.data(), buffer.size())) > 0) into.append(buffer.data(), static_cast<std::size_t>(got));
}

}  // namespace

Result<void> load_rules(const std::string& socket_path, const std::string& file, const std::function<void()>& serve) {
  if (access(file.c_str(), R_OK) != 0) return std::unexpected(system_error("ruleset " + file));
  const auto library = find_preload_library();
  if (!library) return std::unexpected(library.error());
  auto child = start({"nft", "-f", file}, environment_for(*library, socket_path));
  if (!child) return std::unexpected(child.error());

  std::string output;
  int status = 0;
  while (waitpid(child->pid, &status, WNOHANG) == 0) {
    serve();
    drain(child->output.get(), output);
  }
  drain(child->output.get(), output);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  if (output.empty()) output = "nft ended without a message";
  return std::unexpected(Error{EINVAL, "nft refused " + file + ":\n" + output});
}

}  // namespace weir::engine
