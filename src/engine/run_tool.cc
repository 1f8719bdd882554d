#include "engine/run_tool.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <string_view>

#include "base/file_descriptor.h"
#include "base/preload_library.h"

namespace weir::engine {
namespace {

/// This process's environment with the preload library and the engine's socket in it.
std::vector<std::string> environment_for(const std::string& library,
                                         const std::string& socket_path) {
  std::vector<std::string> environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    if (!text.starts_with("LD_PRELOAD=") && !text.starts_with("WEIR_SOCKET="))
      environment.emplace_back(text);
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

/// A pipe whose read end is ours and doesn't block.
struct Pipe {
  FileDescriptor read_end;
  FileDescriptor write_end;

  static Result<Pipe> make() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return std::unexpected(system_error("pipe"));
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return Pipe{FileDescriptor(ends[0]), FileDescriptor(ends[1])};
  }
};

void drain(const FileDescriptor& from, std::string& into) {
  std::array<char, 4096> buffer;
  ssize_t got = 0;
  while ((got = read(from.get(), buffer.data(), buffer.size())) > 0)
    into.append(buffer.data(), static_cast<std::size_t>(got));
}

/// As the shell would find it, but also where ordinary users' PATH doesn't lead and netfilter's
/// tools are.
std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const char* const path = std::getenv("PATH");
  std::string folders = path != nullptr ? path : "/usr/bin:/bin";
  folders += ":/usr/local/sbin:/usr/sbin:/sbin";
  for (std::size_t at = 0; at <= folders.size();) {
    const std::size_t end = std::min(folders.find(':', at), folders.size());
    const std::string candidate = folders.substr(at, end - at) + "/" + name;
    if (end > at && access(candidate.c_str(), X_OK) == 0) return candidate;
    at = end + 1;
  }
  return {};
}

Result<pid_t> start(std::vector<std::string>& words, std::vector<std::string> environment,
                    const Pipe& output, const Pipe& messages) {
  const std::string program = find_program(words[0]);
  if (program.empty()) {
    return std::unexpected(Error{
        ENOENT, words[0] + " was not found in PATH or /usr/sbin (Debian: apt install nftables)"});
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, output.write_end.get(), STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, messages.write_end.get(), STDERR_FILENO);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  pid_t pid = 0;
  const int error = posix_spawn(&pid, program.c_str(), &actions, &attributes,
                                pointers(words).data(), pointers(environment).data());
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  if (error != 0) {
    errno = error;
    return std::unexpected(system_error("starting " + program));
  }
  return pid;
}

}  // namespace

Result<ToolRun> run_tool(std::vector<std::string> words, const std::string& socket_path,
                         const std::function<void()>& serve) {
  const auto library = find_preload_library();
  if (!library) return std::unexpected(library.error());
  auto output = Pipe::make();
  if (!output) return std::unexpected(output.error());
  auto messages = Pipe::make();
  if (!messages) return std::unexpected(messages.error());
  const auto pid = start(words, environment_for(*library, socket_path), *output, *messages);
  if (!pid) return std::unexpected(pid.error());

  ToolRun run;
  int status = 0;
  while (waitpid(*pid, &status, WNOHANG) == 0) {
    serve();
    drain(output->read_end, run.output);
    drain(messages->read_end, run.messages);
  }
  drain(output->read_end, run.output);
  drain(messages->read_end, run.messages);
  run.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return run;
}

}  // namespace weir::engine
