// The engine runs without privileges, and what it needs them for is done here: opening ports,
// putting neighbour questions, reading root's files, and putting the host right in the end. The
// process is forked before anything else happens, so it has read nothing but the settings. It has
// one thread and does one request after the other. What it can be asked for is bounded by what the
// settings name: a captured engine can open no other device and read no other file.
//
// It outlives the engine by a moment. finish() undoes everything. When the engine dies without
// that, the socket ends, and the fail policy says what becomes of the tc programs. When this
// process is killed, the engine notices and ends; when both are, the programs go on dropping, or
// notice that the heartbeat has stopped (io/bpf/port.bpf.c). What then is left is found at the next
// start, or by `weir cleanup`.
#include "daemon/keeper.h"

#include <bpf/libbpf.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <map>
#include <set>

#include "control/server/listener.h"
#include "daemon/host_ports.h"
#include "daemon/host_protocol.h"
#include "daemon/privileges.h"
#include "io/host_hooks.h"
#include "pipeline/counters.h"
#include "routing/rtnetlink_socket.h"

namespace weir::daemon {
namespace {

/// Signals that mean the engine, and would end both.
void ignore_signals() {
  for (const int signal : {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE})
    ::signal(signal, SIG_IGN);
}

HostReply refusal(const Error& error) {
  HostReply reply{.error = error.code == 0 ? EIO : error.code};
  put_text(reply.text, error.text);
  return reply;
}

class Keeper {
 public:
  Keeper(const HostOptions& options, int socket)
      : options_(options), settings_(options.settings), socket_(socket) {}

  void serve() {
    remove_leftovers();
    while (const auto request = receive_request(socket_)) {
      Handles handles;
      const HostReply reply = answer(*request, handles);
      if (request->call == HostCall::ask_neighbour) continue;
      if (!send_reply(socket_, reply, handles)) break;
      if (request->call == HostCall::finish) return;
    }
    engine_has_died();
  }

 private:
  HostReply answer(const HostRequest& request, Handles& handles) {
    switch (request.call) {
      case HostCall::open_port:
        return open_port(request, handles);
      case HostCall::close_port:
        ports_.erase(request.port);
        return {};
      case HostCall::ask_neighbour:
        ask_neighbour(request);
        return {};
      case HostCall::open_file:
        return open_file(request.file, handles);
      case HostCall::reload:
        return reload();
      case HostCall::finish:
        if (request.leaves != 0) leave_ports();
        give_back(request.has_failed != 0);
        if (request.owns_socket != 0) control::Listener::remove_files(settings_.socket);
        return {};
    }
    return refusal({ENOSYS, "the privileged process knows no such request"});
  }

  const PortSettings* find_port(std::string_view device) const {
    const auto found = std::find_if(settings_.ports.begin(), settings_.ports.end(),
                                    [&](const auto& port) { return port.device == device; });
    return found == settings_.ports.end() ? nullptr : &*found;
  }

  HostReply open_port(const HostRequest& request, Handles& handles) {
    const std::uint16_t port = request.port;
    const PortSettings* const wanted = find_port(request.device.data());
    if (wanted == nullptr || port >= pipeline::kMaxPorts)
      return refusal({ENODEV, "the settings have no such port"});
    if (!heartbeat_.is_open()) {
      auto made = io::make_heartbeat();
      if (!made) return refusal(made.error());
      heartbeat_ = std::move(*made);
    }
    const bool takes_over = options_.takes_over && !was_opened_.contains(port);
    auto opened = open_host_port({.settings = *wanted,
                                  .workers = settings_.workers,
                                  .heartbeat = heartbeat_.get(),
                                  .fails_open = settings_.fail_policy == FailPolicy::open,
                                  .takes_over = takes_over});
    // The programs of a port that is opened again are replaced in place, not taken off first.
    if (opened && ports_.contains(port)) ports_[port]->leave();
    ports_.erase(port);
    if (!opened) return refusal(opened.error());
    was_opened_.insert(port);
    ports_[port] = std::move(opened->hooks);

    if (settings_.fail_policy == FailPolicy::open) {
      FileDescriptor map(fcntl(heartbeat_.get(), F_DUPFD_CLOEXEC, 0));
      if (!map.is_open()) return refusal(system_error("the heartbeat"));
      of(handles, HandleKind::heartbeat).push_back(std::move(map));
    }
    return describe_port(std::move(opened->handles), handles);
  }

  void ask_neighbour(const HostRequest& request) {
    const auto family = static_cast<wire::Family>(request.family);
    if (family != wire::Family::ip && family != wire::Family::ip6) return;
    if (!rtnetlink_) {
      auto opened = routing::RtnetlinkSocket::open();
      if (!opened) return;
      rtnetlink_.emplace(std::move(*opened));
    }
    rtnetlink_->ask_neighbour(
        {.ifindex = request.ifindex, .family = family, .address = {request.address}});
    // Refusals (no such interface any more) would fill the socket.
    while (rtnetlink_->receive([](void*, const nlmsghdr&) {}, nullptr).value_or(false)) {
    }
  }

  HostReply open_file(std::uint8_t file, Handles& handles) {
    const bool is_rules = file == static_cast<std::uint8_t>(HostFile::rules);
    const std::string& path = is_rules ? settings_.rules : options_.config;
    if (path.empty()) return refusal({ENOENT, "no such file was named when weir started"});
    FileDescriptor opened(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
    if (!opened.is_open()) return refusal(system_error(path));
    of(handles, HandleKind::file).push_back(std::move(opened));
    return {};
  }

  HostReply reload() {
    auto read = options_.reread();
    if (!read) return refusal(read.error());
    settings_.ports = std::move(read->ports);
    settings_.rules = std::move(read->rules);
    return {};
  }

  void give_back(bool has_failed) {
    if (!has_failed || settings_.fail_policy == FailPolicy::open) return ports_.clear();
    for (auto& [port, hooks] : ports_) {
      if (hooks->has_replaced_others()) hooks->leave();
    }
    ports_.clear();
  }

  /// What a dead engine left on devices that aren't ports any more. On ports the programs stay
  /// until they are replaced: nothing passes meanwhile.
  void remove_leftovers() {
    for (const io::HookedDevice& found : io::find_hooked_devices()) {
      if (find_port(found.device) != nullptr || found.has_engine) continue;
      io::remove_hooks(found.ifindex);
      std::fprintf(stderr, "weir: removed what a dead engine had left on device %s\n",
                   found.device.c_str());
    }
  }

  void engine_has_died() {
    if (ports_.empty()) return;
    if (settings_.fail_policy == FailPolicy::open) {
      ports_.clear();
      std::fputs("weir: the engine has died; fail_policy is open: the kernel has the ports\n",
                 stderr);
      return;
    }
    std::fputs(
        "weir: the engine has died; fail_policy is closed: nothing passes its ports until "
        "weir runs again or `weir cleanup` gives them back\n",
        stderr);
    leave_ports();
  }

  void leave_ports() {
    for (auto& [port, hooks] : ports_) hooks->leave();
  }

  const HostOptions options_;
  Settings settings_;
  const int socket_;
  FileDescriptor heartbeat_;
  std::map<std::uint16_t, std::unique_ptr<io::HostHooks>> ports_;
  std::set<std::uint16_t> was_opened_;  // By this engine: what is there is no other's.
  std::optional<routing::RtnetlinkSocket> rtnetlink_;
};

}  // namespace

void run_keeper(const HostOptions& options, int socket) {
  prctl(PR_SET_NAME, "weir-host");
  setsid();
  ignore_signals();
  close_others(socket);
  libbpf_set_print(nullptr);
  keep_host_privileges();
  Keeper(options, socket).serve();
  _exit(0);
}

}  // namespace weir::daemon
