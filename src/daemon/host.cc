#include "daemon/host.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "daemon/host_protocol.h"
#include "daemon/keeper.h"

namespace weir::daemon {
namespace {

constexpr std::size_t kHeartbeatBytes = sizeof(std::uint64_t);

/// Sends a request and waits for its reply, whose descriptors are put into `handles`.
Result<HostReply> call(int socket, const HostRequest& request, Handles& handles) {
  const bool is_sent = send_request(socket, request);
  const auto reply = is_sent ? receive_reply(socket, handles) : std::nullopt;
  if (!reply) return std::unexpected(Error{EPIPE, "the privileged process has died"});
  if (reply->error != 0) return std::unexpected(Error{reply->error, reply->text.data()});
  return *reply;
}

}  // namespace

Result<std::unique_ptr<Host>> Host::start(const HostOptions& options) {
  auto ends = make_pair_of_sockets();
  if (!ends) return std::unexpected(ends.error());
  const pid_t pid = fork();
  if (pid < 0) return std::unexpected(system_error("forking the privileged process"));
  if (pid == 0) run_keeper(options, (*ends)[1].release());
  return std::unique_ptr<Host>(new Host(std::move((*ends)[0]), pid));
}

Host::~Host() { finish({.has_failed = true}); }

Result<PortHandles> Host::open_port(std::uint16_t port, const std::string& device) {
  HostRequest request{.call = HostCall::open_port, .port = port};
  put_text(request.device, device);
  Handles handles;
  const auto reply = call(socket_.get(), request, handles);
  if (!reply) return std::unexpected(reply.error());
  if (const auto& maps = of(handles, HandleKind::heartbeat);
      !heartbeat_.is_heard() && !maps.empty()) {
    auto mapped = io::FdMapping::map(maps[0].get(), 0, kHeartbeatBytes, "mapping the heartbeat");
    if (!mapped) return std::unexpected(mapped.error());
    beats_ = std::move(*mapped);
    heartbeat_ = Heartbeat(reinterpret_cast<std::uint64_t*>(beats_.data()));
  }
  return read_port(*reply, std::move(handles));
}

void Host::close_port(std::uint16_t port) {
  Handles none;
  [[maybe_unused]] const auto closed =
      call(socket_.get(), {.call = HostCall::close_port, .port = port}, none);
}

void Host::ask_neighbour(const routing::NeighbourKey& key) {
  send_request(socket_.get(),
               {.call = HostCall::ask_neighbour,
                .family = static_cast<std::uint8_t>(key.family),
                .ifindex = key.ifindex,
                .address = key.address.bytes},
               false);
}

Result<FileDescriptor> Host::open_file(HostFile file) {
  Handles handles;
  const HostRequest request{.call = HostCall::open_file, .file = static_cast<std::uint8_t>(file)};
  const auto reply = call(socket_.get(), request, handles);
  if (!reply) return std::unexpected(reply.error());
  auto& files = of(handles, HandleKind::file);
  if (files.size() != 1) return std::unexpected(Error{EPROTO, "no file came"});
  return std::move(files[0]);
}

Result<void> Host::reload() {
  Handles none;
  const auto reply = call(socket_.get(), {.call = HostCall::reload}, none);
  if (!reply) return std::unexpected(reply.error());
  return {};
}

bool Host::finish(const End& end) {
  if (!socket_.is_open()) return true;
  Handles none;
  const HostRequest request{
      .call = HostCall::finish,
      .has_failed = end.has_failed,
      .owns_socket = end.owns_socket,
      .leaves = end.leaves};
  const bool is_done = call(socket_.get(), request, none).has_value();
  socket_ = {};
  while (waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
  return is_done;
}

}  // namespace weir::daemon
