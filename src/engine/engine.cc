#include "engine/engine.h"

#include "base/random.h"
#include "conntrack/control.h"

namespace weir::engine {
namespace {

/// The control thread, a dump's reader, and room for tests.
constexpr std::uint32_t kControls = 4;

}  // namespace

Result<std::unique_ptr<Engine>> Engine::create(const Options& options, Time now) {
  std::unique_ptr<Engine> engine(new Engine);
  engine->options_ = options;

  conntrack::TableOptions table = options.conntrack;
  table.workers = options.workers;
  table.controls = kControls;
  if (options.key) table.key = options.key;
  const auto key = [&options] { return options.key ? *options.key : random_key(); };
  auto conntrack = conntrack::Table::create(table, now);
  if (!conntrack) return std::unexpected(conntrack.error());
  engine->conntrack_ = std::move(*conntrack);
  auto nat = nat::Nat::create(*engine->conntrack_, key());
  if (!nat) return std::unexpected(nat.error());
  engine->nat_ = std::move(*nat);

  Epochs* const epochs = &engine->conntrack_->epochs();
  engine->reassembly_ = std::make_unique<fragments::Reassembly>(options.fragments, key());
  engine->bound_reassembly();
  engine->routing_ = std::make_unique<routing::Database>(epochs);
  engine->neighbours_ = std::make_unique<routing::Neighbours>(epochs);
  engine->rules_ = std::make_unique<rules::Ruleset>(*epochs);
  engine->rules_->set_connections(engine->conntrack_.get());
  engine->shared_.reset(new pipeline::Shared{
      .conntrack = *engine->conntrack_,
      .nat = *engine->nat_,
      .reassembly = *engine->reassembly_,
      .routing = *engine->routing_,
      .neighbours = *engine->neighbours_,
      .ruleset = *engine->rules_,
      .services = {.conntrack = engine->conntrack_.get(),
                   .nat = engine->nat_.get(),
                   .routing = engine->routing_.get(),
                   .log = options.log,
                   .workers = options.workers},
      .ports = {},
      .icmp_limits = options.icmp,
      .key = key(),
  });
  return engine;
}

Engine::~Engine() { workers_.clear(); }

std::uint16_t Engine::add_port(PortSpec port) {
  const auto number = static_cast<std::uint16_t>(ports_.size());
  ports_.push_back({std::move(port.name), std::make_unique<pipeline::PortId>(port.ifindex),
                    std::move(port.queues)});
  shared_->ports.push_back(ports_.back().id.get());
  return number;
}

void Engine::start() {
  for (std::uint16_t number = 0; number < options_.workers; ++number) {
    std::vector<pipeline::PortQueues> queues;
    for (const Port& port : ports_) queues.push_back(port.queues[number]);
    pipeline::WorkerOptions options = options_.worker;
    options.number = number;
    workers_.push_back(std::make_unique<pipeline::Worker>(*shared_, options, std::move(queues)));
  }
}

std::uint32_t Engine::port_ifindex(std::uint16_t port) const {
  return ports_[port].id->ifindex.load(std::memory_order_relaxed);
}

void Engine::set_port_ifindex(std::uint16_t port, std::uint32_t ifindex) {
  ports_[port].id->ifindex.store(ifindex, std::memory_order_relaxed);
}

void Engine::control_turn() {
  conntrack_->fault_ahead();
  conntrack_->limits().tend(control_participant());
  rules_->collect();
  routing_->collect();
  neighbours_->collect();
}

std::size_t Engine::flush_masqueraded(std::uint32_t ifindex, Time now) {
  conntrack::Control control(*conntrack_, control_participant());
  return control.flush(
      now, 0, [&](const conntrack::Snapshot& c) { return nat::goes_with_link(c, ifindex); });
}

std::size_t Engine::flush_masqueraded(std::uint32_t ifindex, wire::Family family,
                                      const wire::Address& address, Time now) {
  conntrack::Control control(*conntrack_, control_participant());
  return control.flush(now, 0, [&](const conntrack::Snapshot& c) {
    return nat::goes_with_address(c, ifindex, family, address);
  });
}

}  // namespace weir::engine
