#include "daemon/gateway.h"

#include <fmt/format.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <spdlog/spdlog.h>

#include <cerrno>
#include <filesystem>
#include <utility>

#include "engine/rules_loader.h"

namespace weir::daemon {
namespace {

constexpr Duration kTick = std::chrono::milliseconds(100);
constexpr Duration kServeWait = std::chrono::milliseconds(20);

/// "user:NAME" and "group:NAME" as numbers.
Result<control::Principals> resolve_principals(const std::vector<std::string>& names) {
  control::Principals principals;
  for (const std::string& name : names) {
    const std::size_t colon = name.find(':');
    const std::string kind = name.substr(0, colon);
    const std::string who = colon == std::string::npos ? "" : name.substr(colon + 1);
    if (const passwd* user = kind == "user" ? getpwnam(who.c_str()) : nullptr) {
      principals.uids.push_back(user->pw_uid);
    } else if (const group* group = kind == "group" ? getgrnam(who.c_str()) : nullptr) {
      principals.gids.push_back(group->gr_gid);
    } else {
      return std::unexpected(
          Error{EINVAL, "access: " + name + " is no user:NAME or group:NAME that exists"});
    }
  }
  return principals;
}

}  // namespace

Result<std::unique_ptr<Gateway>> Gateway::open(const Settings& settings) {
  std::unique_ptr<Gateway> gateway(new Gateway(settings));
  if (auto opened = gateway->open_control(); !opened) return std::unexpected(opened.error());
  if (auto opened = gateway->open_ports(); !opened) return std::unexpected(opened.error());
  if (auto started = gateway->start_workers(); !started) return std::unexpected(started.error());
  return gateway;
}

Gateway::~Gateway() {
  threads_.clear();
  control_.reset();
  engine_.reset();  // Workers give their packets back before the queues go.
}

Result<void> Gateway::open_control() {
  auto readers = resolve_principals(settings_.readers);
  if (!readers) return std::unexpected(readers.error());
  auto changers = resolve_principals(settings_.changers);
  if (!changers) return std::unexpected(changers.error());

  engine::Options options;
  options.workers = settings_.workers;
  options.conntrack.max = settings_.conntrack_max;
  options.conntrack.wall_offset = wall_time() - boot_time().time_since_epoch();
  options.log = &rule_log_;
  auto engine = engine::Engine::create(options, boot_time());
  if (!engine) return std::unexpected(engine.error());
  engine_ = std::move(*engine);
  first_generation_ = engine_->rules().generation();

  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(settings_.socket).parent_path(), error);
  auto control = engine::ControlPlane::open(
      *engine_,
      {.socket_path = settings_.socket, .access = {.readers = *readers, .changers = *changers}},
      boot_time);
  if (!control) return std::unexpected(control.error());
  control_ = std::move(*control);

  auto mirror = routing::Mirror::open(engine_->routing(), engine_->neighbours(), this);
  if (!mirror) return std::unexpected(mirror.error());
  mirror_ = std::move(*mirror);
  if (auto watched = control_->server().watch(mirror_->fd(), *this); !watched) return watched;
  return control_->server().watch(engine_->neighbours().question_fd(),
                                  *this);  // turn() takes the questions.
}

Result<void> Gateway::open_ports() {
  for (const PortSettings& port : settings_.ports) {
    auto device = Device::open(port, settings_.workers);
    if (!device) return std::unexpected(device.error());
    engine_->add_port(
        {.name = port.name, .ifindex = (*device)->ifindex(), .queues = (*device)->queues()});
    spdlog::info("port {}: device {} by af_packet", port.name, port.device);
    devices_.push_back(std::move(*device));
  }
  return {};
}

Result<void> Gateway::start_workers() {
  engine_->start();
  for (std::uint16_t i = 0; i < engine_->workers(); ++i) {
    auto thread = WorkerThread::start(engine_->worker(i));
    if (!thread) return std::unexpected(thread.error());
    threads_.push_back(std::move(*thread));
  }
  engine_->conntrack().set_waker(
      [](void* gateway, std::uint32_t worker) {
        static_cast<Gateway*>(gateway)->threads_[worker]->wake();
      },
      this);
  return {};
}

Result<void> Gateway::load_rules() {
  if (settings_.rules.empty()) {
    spdlog::info("no rules yet: nothing is forwarded until `weir exec -- nft -f FILE` loads some");
    return {};
  }
  if (auto loaded = engine::load_rules(settings_.socket, settings_.rules, [this] { turn(); });
      !loaded)
    return loaded;
  engine_->open();
  spdlog::info("rules of {} loaded; forwarding", settings_.rules);
  return {};
}

Result<void> Gateway::run(int stop_fd) {
  pollfd stop{.fd = stop_fd, .events = POLLIN, .revents = 0};
  while (poll(&stop, 1, 0) == 0) turn();
  spdlog::info("stopping");
  return {};
}

/// The control thread's round.
void Gateway::turn() {
  control_->serve_once(kServeWait);
  const Time now = boot_time();
  if (now >= next_tick_) {
    next_tick_ = now + kTick;
    rule_log_.write_out();
    open_gate_when_loaded();
  }
  if (auto ticked = mirror_->tick(now); !ticked) spdlog::error("routing: {}", ticked.error().text);
}

void Gateway::open_gate_when_loaded() {
  if (engine_->is_open() || !settings_.rules.empty()) return;
  if (engine_->rules().generation() == first_generation_) return;
  engine_->open();
  spdlog::info("rules loaded; forwarding");
}

void Gateway::on_readable() {
  if (auto read = mirror_->on_readable(boot_time()); !read)
    spdlog::error("routing: {}", read.error().text);
}

void Gateway::address_gone(const routing::InterfaceAddress& address) {
  const std::size_t count =
      engine_->flush_masqueraded(address.ifindex, address.family, address.local, boot_time());
  if (count > 0)
    spdlog::info("address {} is gone: {} masqueraded connections deleted",
                 wire::to_string(address.local, address.family), count);
}

void Gateway::link_gone(const routing::Link& link, bool is_removed) {
  const std::size_t count = engine_->flush_masqueraded(link.ifindex, boot_time());
  if (count > 0)
    spdlog::info("link {} is gone: {} masqueraded connections deleted", link.name, count);
  for (std::uint16_t port = 0; port < devices_.size(); ++port) {
    if (devices_[port] == nullptr || devices_[port]->ifindex() != link.ifindex) continue;
    spdlog::warn("port {}: device {} is {}", settings_.ports[port].name, link.name,
                 is_removed ? "gone" : "down");
    if (is_removed) close_port(port);
  }
}

void Gateway::link_changed(const routing::Link& link) {
  for (std::uint16_t port = 0; port < devices_.size(); ++port) {
    if (devices_[port] == nullptr && settings_.ports[port].device == link.name) reopen_port(port);
  }
}

/// Somebody may hold packets for it.
void Gateway::neighbour_changed(const routing::NeighbourKey&, const routing::Neighbour&) {
  for (const auto& thread : threads_) thread->wake();
}

void Gateway::close_port(std::uint16_t port) {
  give_queues(port, std::vector<pipeline::PortQueues>(engine_->workers()));
  devices_[port].reset();
}

void Gateway::reopen_port(std::uint16_t port) {
  auto device = Device::open(settings_.ports[port], settings_.workers);
  if (!device) {
    spdlog::error("port {}: {}", settings_.ports[port].name, device.error().text);
    return;
  }
  devices_[port] = std::move(*device);
  engine_->set_port_ifindex(port, devices_[port]->ifindex());
  give_queues(port, devices_[port]->queues());
  spdlog::info("port {}: device {} is back", settings_.ports[port].name,
               settings_.ports[port].device);
}

void Gateway::give_queues(std::uint16_t port, const std::vector<pipeline::PortQueues>& queues) {
  engine_->replace_queues(port, queues);
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    threads_[i]->run([&](pipeline::Worker& worker) { worker.output().replace(port, queues[i]); });
  }
}

}  // namespace weir::daemon
