#include "daemon/loader.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "base/preload_library.h"
#include "daemon/host_protocol.h"
#include "engine/run_tool.h"

namespace weir::daemon {
namespace {

constexpr std::size_t kLongestName = 4096;
constexpr std::size_t kLongestText = 60 * 1024;
constexpr useconds_t kPauseMicroseconds = 1000;

using Request = std::array<char, kLongestName>;

struct Reply {
  std::int32_t error = 0;
  std::array<char, kLongestText> text{};
};

std::string path_of(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

/// nft's children are to find the preload library even where the engine's user can't reach it (a
/// build in somebody's home). Opened with root's rights; null when it isn't there at all, which nft
/// is told when it is to be started.
FileDescriptor open_preload_library(std::string& path) {
  const auto found = find_preload_library();
  if (!found) return {};
  path = *found;
  return FileDescriptor(open(found->c_str(), O_RDONLY));  // nft inherits it.
}

/// A copy of the file that belongs to us, and that nft inherits.
Result<FileDescriptor> copy_of(const FileDescriptor& file) {
  FileDescriptor copy(memfd_create("rules", 0));
  if (!copy.is_open()) return std::unexpected(system_error("memfd_create"));
  std::array<std::uint8_t, 64 * 1024> chunk;
  ssize_t got = 0;
  while ((got = read(file.get(), chunk.data(), chunk.size())) > 0) {
    if (write(copy.get(), chunk.data(), static_cast<std::size_t>(got)) != got)
      return std::unexpected(system_error("copying the rules"));
  }
  if (got < 0) return std::unexpected(system_error("reading the rules"));
  return copy;
}

void replace_all(std::string& text, const std::string& what, const std::string& by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += by.size())
    text.replace(at, what.size(), by);
}

Result<void> run_nft(const FileDescriptor& file, const std::string& name,
                     const std::string& socket_path) {
  const auto copy = copy_of(file);
  if (!copy) return std::unexpected(copy.error());
  const std::string path = path_of(copy->get());
  const auto run =
      engine::run_tool({"nft", "-f", path}, socket_path, [] { usleep(kPauseMicroseconds); });
  if (!run) return std::unexpected(run.error());
  if (run->exit_code == 0) return {};
  std::string said = run->output + run->messages;
  replace_all(said, path, name);
  if (said.empty()) said = "nft ended without a message";
  return std::unexpected(Error{EINVAL, "nft refused " + name + ":\n" + said});
}

void serve(int socket, const std::string& socket_path) {
  Request name{};
  std::vector<FileDescriptor> files;
  while (
      receive_message(socket, {reinterpret_cast<std::uint8_t*>(name.data()), name.size()}, files)) {
    name.back() = 0;
    Reply reply;
    if (files.size() == 1) {
      if (const auto loaded = run_nft(files[0], name.data(), socket_path); !loaded) {
        reply.error = loaded.error().code;
        put_text(reply.text, loaded.error().text);
      }
    } else {
      reply.error = EPROTO;
    }
    files.clear();
    if (!send_message(socket, as_bytes(reply), {})) return;
  }
}

[[noreturn]] void run_loader(const Loader::Options& options, int socket) {
  prctl(PR_SET_NAME, "weir-loader");
  setsid();
  for (const int each : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE})
    signal(each, SIG_IGN);
  close_others(socket);
  std::string library_path;
  const FileDescriptor library = open_preload_library(library_path);
  if (const auto dropped = drop_privileges(options.confinement); !dropped) {
    std::fprintf(stderr, "weir: %s\n", dropped.error().text.c_str());
    _exit(1);
  }
  if (library.is_open() && access(library_path.c_str(), R_OK) != 0)
    setenv("WEIR_PRELOAD", path_of(library.get()).c_str(), 1);
  serve(socket, options.socket_path);
  _exit(0);
}

bool is_readable(int socket) {
  pollfd waits{.fd = socket, .events = POLLIN, .revents = 0};
  return poll(&waits, 1, 0) > 0;
}

}  // namespace

Result<std::unique_ptr<Loader>> Loader::start(const Options& options) {
  auto ends = make_pair_of_sockets();
  if (!ends) return std::unexpected(ends.error());
  const pid_t pid = fork();
  if (pid < 0) return std::unexpected(system_error("forking the loader of rules"));
  if (pid == 0) run_loader(options, (*ends)[1].release());
  return std::unique_ptr<Loader>(new Loader(std::move((*ends)[0]), pid));
}

Loader::~Loader() {
  socket_ = {};
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

Result<void> Loader::load(const FileDescriptor& file, const std::string& name,
                          const std::function<void()>& serve) {
  const Error died{EPIPE, "the loader of rules has died"};
  Request request{};
  put_text(request, name);
  const int descriptors[] = {file.get()};
  if (!send_message(socket_.get(), as_bytes(request), descriptors)) return std::unexpected(died);
  while (!is_readable(socket_.get())) serve();
  const auto reply = std::make_unique<Reply>();
  std::vector<FileDescriptor> none;
  const auto got = receive_message(
      socket_.get(), {reinterpret_cast<std::uint8_t*>(reply.get()), sizeof *reply}, none);
  if (got != sizeof *reply) return std::unexpected(died);
  reply->text.back() = 0;
  if (reply->error != 0) return std::unexpected(Error{reply->error, reply->text.data()});
  return {};
}

}  // namespace weir::daemon
