#include "daemon/gateway.h"

#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <utility>

#include "daemon/access.h"

namespace weir::daemon {
namespace {

constexpr Duration kTick = std::chrono::milliseconds(100);
constexpr Duration kServeWait = std::chrono::milliseconds(20);
/// Ports that reloads can add to those that weir starts with.
constexpr std::size_t kSparePorts = 8;

/// The number of a signal that waits, or zero.
int next_signal(int signals) {
  signalfd_siginfo info{};
  return read(signals, &info, sizeof info) == sizeof info ? static_cast<int>(info.ssi_signo) : 0;
}

}  // namespace

Result<std::unique_ptr<Gateway>> Gateway::open(const Settings& settings, const Separation& parts,
                                               Surroundings surroundings,
                                               std::optional<Takeover> takeover) {
  std::unique_ptr<Gateway> gateway(new Gateway(settings, parts, std::move(surroundings)));
  gateway->takeover_ = std::move(takeover);
  if (auto opened = gateway->open_state(); !opened) return std::unexpected(opened.error());
  if (auto opened = gateway->open_control(); !opened) return std::unexpected(opened.error());
  const auto confined = parts.confine();
  if (!confined) return std::unexpected(confined.error());
  spdlog::info("the engine runs as {}", *confined);
  if (auto ready = gateway->begin_takeover(); !ready) return std::unexpected(ready.error());
  if (auto opened = gateway->open_ports(); !opened) return std::unexpected(opened.error());
  if (auto taken = gateway->complete_takeover(); !taken) return std::unexpected(taken.error());
  gateway->engine_->start();
  if (gateway->has_restored_) gateway->engine_->open();
  if (auto started = gateway->start_workers(); !started) return std::unexpected(started.error());
  if (auto opened = gateway->open_handover(); !opened) return std::unexpected(opened.error());
  auto supervision =
      Supervision::open(settings, std::move(gateway->surroundings_.manager),
                        {*gateway->engine_, gateway->control_->server(), gateway->threads_});
  if (!supervision) return std::unexpected(supervision.error());
  gateway->supervision_ = std::move(*supervision);
  gateway->engine_->include(gateway->supervision_.get());
  return gateway;
}

Gateway::~Gateway() {
  if (engine_ != nullptr) engine_->include(nullptr);
  supervision_.reset();
  threads_.clear();
  // While nothing else can have taken the socket's place.
  if (control_ != nullptr && is_replaced_) control_->server().listener().leave();
  if (handover_ != nullptr && !is_replaced_) handover_->remove_file();
  parts_.host().finish({.has_failed = !has_started_,
                        .owns_socket = owns_socket_ && !is_replaced_,
                        .leaves = is_replaced_});
  control_.reset();
  engine_.reset();  // Workers give their packets back before the queues go.
}

Result<void> Gateway::open_state() {
  const FileIdentity as_engine(parts_.identity());
  is_replaced_ = takeover_.has_value();  // Until the other engine leaves.
  auto state = takeover_ ? engine::State::take_over(settings_.state,
                                                    std::move(takeover_->descriptors().state_lock))
                         : engine::State::open(settings_.state);
  if (!state) return std::unexpected(state.error());
  state_ = std::move(*state);
  for (const std::string& note : state_->notes()) spdlog::warn("{}", note);
  return {};
}

Result<std::unique_ptr<engine::ControlPlane>> Gateway::open_server(
    const control::Server::Options& options) {
  if (!takeover_) return engine::ControlPlane::open(*engine_, options, boot_time);
  HandoverDescriptors& descriptors = takeover_->descriptors();
  return engine::ControlPlane::adopt(
      *engine_, options,
      control::Listener::adopt(settings_.socket, std::move(descriptors.listener_lock),
                               std::move(descriptors.listener)),
      boot_time);
}

Result<void> Gateway::open_control() {
  auto access = access_policy(settings_, parts_);
  if (!access) return std::unexpected(access.error());
  auto file = socket_file(settings_, parts_.identity());
  if (!file) return std::unexpected(file.error());
  const bool is_inherited = surroundings_.listener.is_open();
  file->inherited = surroundings_.listener.release();

  engine::Options options;
  options.workers = settings_.workers;
  options.worker.small_buffers = settings_.small_buffers;
  options.worker.large_buffers = settings_.large_buffers;
  options.conntrack.max = settings_.conntrack_max;
  options.conntrack.wall_offset = wall_time() - boot_time().time_since_epoch();
  options.conntrack.arena_fd = state_->connections_fd();
  options.conntrack.extension_fd = state_->extensions_fd();
  options.conntrack.expectation_fd = state_->expectations_fd();
  options.conntrack.recovers_later = takeover_.has_value();
  options.log = &rule_log_;
  auto engine = engine::Engine::create(options, boot_time());
  if (!engine) return std::unexpected(engine.error());
  engine_ = std::move(*engine);
  rules_keeper_ = std::make_unique<engine::RulesKeeper>(*state_, engine_->rules());
  first_generation_ = engine_->rules().generation();
  for (const SysctlSetting& sysctl : settings_.sysctls) {
    if (auto set = engine_->set_sysctl(sysctl.name, std::to_string(sysctl.value)); !set) return set;
  }
  if (auto limited = apply_limits(settings_); !limited) return limited;

  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(settings_.socket).parent_path(), error);
  auto control = open_server(
      {.socket_path = settings_.socket, .socket_file = *file, .access = std::move(*access)});
  if (!control) return std::unexpected(control.error());
  control_ = std::move(*control);
  control_->set_commit_observer(rules_keeper_.get());
  owns_socket_ = !is_inherited;

  auto mirror =
      routing::Mirror::open(engine_->routing(), engine_->neighbours(), this, &parts_.host());
  if (!mirror) return std::unexpected(mirror.error());
  mirror_ = std::move(*mirror);
  if (auto watched = control_->server().watch(mirror_->fd(), *this); !watched) return watched;
  if (auto watched = control_->server().watch(parts_.host().fd(), host_watcher_); !watched)
    return watched;
  return control_->server().watch(engine_->neighbours().question_fd(),
                                  *this);  // turn() takes the questions.
}

Result<void> Gateway::open_ports() {
  for (const PortSettings& port : settings_.ports) {
    const auto number = static_cast<std::uint16_t>(devices_.size());
    auto device = Device::open(parts_.host(), number, port);
    if (!device) return std::unexpected(device.error());
    engine_->add_port(
        {.name = port.name, .ifindex = (*device)->ifindex(), .queues = (*device)->queues()});
    const io::Choice& choice = (*device)->choice();
    spdlog::info("port {}: device {} by {} ({})", port.name, port.device,
                 io::name_of(choice.driver), choice.why);
    devices_.push_back(std::move(*device));
  }
  const std::size_t most = std::min(devices_.size() + kSparePorts, pipeline::kMaxPorts);
  while (engine_->port_count() < most) {
    engine_->add_port({.name = "",
                       .ifindex = 0,
                       .queues = std::vector<pipeline::PortQueues>(settings_.workers)});
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

/// Before anybody looks at rules: the workers begin with them.
void Gateway::restore_rules() {
  const auto restored = engine::restore_rules(*state_, engine_->rules());
  has_restored_ = restored && *restored;
  if (!restored) spdlog::error("{}", restored.error().text);
  first_generation_ = engine_->rules().generation();
}

Result<void> Gateway::load_rules() {
  if (has_restored_) {
    open_gate();
    spdlog::info("rules of the last run restored; forwarding");
    return {};
  }
  if (settings_.rules.empty()) {
    spdlog::info("no rules yet: nothing is forwarded until `weir exec -- nft -f FILE` loads some");
    return {};
  }
  const auto file = parts_.host().open_file(HostFile::rules);
  if (!file) return std::unexpected(Error{file.error().code, "ruleset " + file.error().text});
  auto loaded = parts_.loader().load(*file, settings_.rules, [this] { turn(); });
  if (!loaded) return loaded;
  open_gate();
  spdlog::info("rules of {} loaded; forwarding", settings_.rules);
  return {};
}

Result<void> Gateway::run(int signals) {
  has_started_ = true;
  supervision_->manager().ready();
  tell_status();
  for (;;) {
    if (const int signal = next_signal(signals); signal == SIGHUP) {
      reload();
    } else if (signal != 0) {
      break;
    }
    turn();
    if (handover_->is_replaced()) {
      is_replaced_ = true;
      spdlog::info("another engine has our place: leaving");
      return {};
    }
    if (host_watcher_.is_dead)
      return std::unexpected(Error{EPIPE, "the privileged process has died: stopping"});
  }
  supervision_->manager().stopping();
  spdlog::info("stopping");
  if (auto saved = rules_keeper_->save(); !saved)
    spdlog::error("the rules will not survive: {}", saved.error().text);
  return {};
}

void Gateway::tell_status() {
  std::size_t ports = 0;
  for (const PortSettings& port : settings_.ports) ports += !port.name.empty();
  supervision_->manager().status(fmt::format(
      "{} ports, {}", ports, engine_->is_open() ? "forwarding" : "no rules yet: nothing passes"));
}

/// The control thread's round.
void Gateway::turn() {
  control_->serve_once(kServeWait);
  const Time now = boot_time();
  if (now >= next_tick_) {
    next_tick_ = now + kTick;
    rule_log_.write_out();
    open_gate_when_loaded();
    rules_keeper_->turn(now);
    if (supervision_ != nullptr) supervision_->tick(now);
  }
  if (auto ticked = mirror_->tick(now); !ticked) spdlog::error("routing: {}", ticked.error().text);
}

void Gateway::open_gate_when_loaded() {
  if (engine_->is_open() || !settings_.rules.empty()) return;
  if (engine_->rules().generation() == first_generation_) return;
  open_gate();
  spdlog::info("rules loaded; forwarding");
  tell_status();
}

/// From the first beat on the kernel leaves the packets to us, where it had them (`fail_policy`).
void Gateway::open_gate() {
  if (const Heartbeat heartbeat = parts_.host().heartbeat(); heartbeat.is_heard()) {
    for (const auto& thread : threads_) thread->beat_with(heartbeat);
  }
  engine_->open();
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
  parts_.host().close_port(port);
  devices_[port].reset();
}

void Gateway::reopen_port(std::uint16_t port) {
  auto device = Device::open(parts_.host(), port, settings_.ports[port]);
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
