#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/siphash.h"
#include "conntrack/table.h"
#include "control/own/own.h"
#include "fragments/reassembly.h"
#include "nat/nat.h"
#include "pipeline/shared.h"
#include "pipeline/worker.h"
#include "routing/database.h"
#include "routing/neighbours.h"
#include "rules/ruleset.h"

namespace weir::engine {

struct Options {
  std::uint16_t workers = 1;
  pipeline::WorkerOptions worker;     // `number` is the engine's to set.
  conntrack::TableOptions conntrack;  // `workers` and `controls` are the engine's to set.
  fragments::Limits fragments;
  pipeline::IcmpLimits icmp;
  std::optional<HashKey> key{};  // For tests that need the same choices twice; else random.
  rules::LogSink* log =
      nullptr;  // Where the log expression's lines go; null: nowhere. Outlives the engine.
};

/// A network port to give to the engine.
struct PortSpec {
  std::string name;           // "lan"
  std::uint32_t ifindex = 0;  // Of its device, as routing knows it.
  std::vector<pipeline::PortQueues>
      queues;  // One a worker; they outlive the engine or are replaced.
};

/// weir without threads, sockets or devices: the table, the rules, the routes, the path, wired
/// together. The daemon, replay, bench and the tests use this same object; they differ in what its
/// ports are, where its routes come from, who calls its workers, and what the time is.
///
/// Life: create(), add_port() for each, start(); then worker(i).turn() by one thread each, and
/// control_turn() by one control thread. Whoever edits rules() or routing() is that control thread.
class Engine final : public control::StatsSource, public control::SysctlSource {
 public:
  static Result<std::unique_ptr<Engine>> create(const Options& options, Time now);
  ~Engine() override;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Returns the port's number. Before start().
  std::uint16_t add_port(PortSpec port);
  void start();

  /// Lets packets through; until then all are dropped (fail closed). Called when rules have been
  /// loaded.
  void open() { shared_->is_open.store(true, std::memory_order_release); }
  bool is_open() const { return shared_->is_open.load(std::memory_order_acquire); }

  std::uint16_t workers() const { return options_.workers; }
  pipeline::Worker& worker(std::uint16_t number) { return *workers_[number]; }
  conntrack::Table& conntrack() { return *conntrack_; }
  nat::Nat& nat() { return *nat_; }
  rules::Ruleset& rules() { return *rules_; }
  routing::Database& routing() { return *routing_; }
  routing::Neighbours& neighbours() { return *neighbours_; }
  /// The epoch participant of the thread that calls control_turn().
  std::size_t control_participant() const { return conntrack_->control_participant(0); }

  std::size_t port_count() const { return ports_.size(); }
  const std::string& port_name(std::uint16_t port) const { return ports_[port].name; }
  std::uint32_t port_ifindex(std::uint16_t port) const;
  /// The port's device has another index now, or other queues (null while it is away). The caller
  /// replaces them on the workers too (pipeline::Output::replace).
  void set_port_ifindex(std::uint16_t port, std::uint32_t ifindex);
  /// A port without a name is a place for one that comes later: without device and in no statistic.
  void set_port_name(std::uint16_t port, std::string name) { ports_[port].name = std::move(name); }
  void replace_queues(std::uint16_t port, std::vector<pipeline::PortQueues> queues) {
    ports_[port].queues = std::move(queues);
  }

  /// The control thread's standing work: memory ahead of the workers. Every few milliseconds.
  void control_turn();

  /// Deletes the masqueraded connections that go with a link, or with an address of it
  /// (nf_nat_masquerade's notifiers). On the control thread, while the workers run. Returns how
  /// many.
  std::size_t flush_masqueraded(std::uint32_t ifindex, Time now);
  std::size_t flush_masqueraded(std::uint32_t ifindex, wire::Family family,
                                const wire::Address& address, Time now);

  std::vector<control::Stat> stats() const override;
  /// Somebody else's numbers are to come with them; null: nobody's. It outlives the engine.
  void include(const control::StatsSource* others) { other_stats_ = others; }

  // The knobs (conntrack/sysctl.h): for the control thread.
  std::vector<control::SysctlValue> sysctls() const override;
  Result<control::SysctlValue> sysctl(std::string_view name) const override;
  Result<void> set_sysctl(std::string_view name, std::string_view value) override;

 private:
  struct Port {
    std::string name;
    std::unique_ptr<pipeline::PortId> id;
    std::vector<pipeline::PortQueues> queues;
  };

  Engine() = default;
  conntrack::Sysctl& fresh_sysctl() const;
  void bound_reassembly();

  Options options_;
  std::unique_ptr<conntrack::Table> conntrack_;
  std::unique_ptr<nat::Nat> nat_;
  std::unique_ptr<fragments::Reassembly> reassembly_;
  std::unique_ptr<routing::Database> routing_;
  std::unique_ptr<routing::Neighbours> neighbours_;
  std::unique_ptr<rules::Ruleset> rules_;
  std::unique_ptr<pipeline::Shared> shared_;
  std::vector<Port> ports_;
  std::vector<std::unique_ptr<pipeline::Worker>> workers_;
  const control::StatsSource* other_stats_ = nullptr;
};

}  // namespace weir::engine
