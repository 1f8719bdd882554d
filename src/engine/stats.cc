// The engine's numbers under their names, for `weir stats` and whoever asks over nfnetlink.
#include <fmt/core.h>

#include "engine/engine.h"

namespace weir::engine {

using control::Stat;

namespace {

void add_path(std::vector<Stat>& stats,
              const std::vector<std::unique_ptr<pipeline::Worker>>& workers) {
  struct Field {
    std::string_view name;
    Counter pipeline::Counters::* counter;
  };
  constexpr Field kFields[] = {
      {"received", &pipeline::Counters::received},
      {"forwarded", &pipeline::Counters::forwarded},
      {"to_host", &pipeline::Counters::to_host},
      {"from_host", &pipeline::Counters::from_host},
      {"generated", &pipeline::Counters::generated},
      {"icmp_limited", &pipeline::Counters::icmp_limited},
  };
  for (const Field& field : kFields) {
    std::uint64_t sum = 0;
    for (const auto& worker : workers) sum += (worker->counters().*field.counter).value();
    stats.push_back({fmt::format("path.{}", field.name), sum});
  }
  for (std::size_t reason = 1; reason < packet::kDropNames.size(); ++reason) {
    std::uint64_t sum = 0;
    for (const auto& worker : workers) sum += worker->counters().drops[reason].value();
    stats.push_back({fmt::format("drop.{}", packet::kDropNames[reason]), sum});
  }
}

void add_queue(std::vector<Stat>& stats, const std::string& prefix,
               const std::vector<const io::Queue*>& queues) {
  struct Field {
    std::string_view name;
    Counter io::QueueCounters::* counter;
  };
  constexpr Field kFields[] = {
      {"rx_packets", &io::QueueCounters::rx_packets},
      {"rx_bytes", &io::QueueCounters::rx_bytes},
      {"rx_missed", &io::QueueCounters::rx_missed},
      {"tx_packets", &io::QueueCounters::tx_packets},
      {"tx_bytes", &io::QueueCounters::tx_bytes},
      {"tx_failed", &io::QueueCounters::tx_failed},
  };
  for (const Field& field : kFields) {
    std::uint64_t sum = 0;
    for (const io::Queue* queue : queues) sum += (queue->counters().*field.counter).value();
    stats.push_back({fmt::format("{}.{}", prefix, field.name), sum});
  }
}

/// What became of the packets that came in by a port.
void add_verdicts(std::vector<Stat>& stats, const std::string& name, std::size_t port,
                  const std::vector<std::unique_ptr<pipeline::Worker>>& workers) {
  std::uint64_t forwarded = 0, to_host = 0, dropped = 0;
  for (const auto& worker : workers) {
    const pipeline::PortCounters& counters = worker->counters().ports[port];
    forwarded += counters.forwarded.value();
    to_host += counters.to_host.value();
    dropped += counters.dropped.value();
  }
  stats.push_back({fmt::format("port.{}.forwarded", name), forwarded});
  stats.push_back({fmt::format("port.{}.to_host", name), to_host});
  stats.push_back({fmt::format("port.{}.dropped", name), dropped});
}

void add_conntrack(std::vector<Stat>& stats, const conntrack::Table& table) {
  stats.push_back({"conntrack.entries", table.count()});
  stats.push_back({"conntrack.max", table.max()});
  conntrack::StatisticsSnapshot sum;
  for (std::uint32_t worker = 0; worker < table.workers(); ++worker)
    sum += table.statistics(worker);
  const std::pair<std::string_view, std::uint64_t> fields[] = {
      {"found", sum.found},
      {"invalid", sum.invalid},
      {"insert", sum.insert},
      {"insert_failed", sum.insert_failed},
      {"drop", sum.drop},
      {"early_drop", sum.early_drop},
      {"error", sum.error},
      {"search_restart", sum.search_restart},
      {"clash_resolve", sum.clash_resolve},
      {"chain_too_long", sum.chain_too_long},
      {"created", sum.created},
      {"destroyed", sum.destroyed},
      {"refused", sum.refused},
      {"refused_source", sum.refused_source},
      {"refused_zone", sum.refused_zone},
      {"counted_sources", table.limits().sources()},
      {"events_lost", sum.events_lost},
  };
  for (const auto& [name, value] : fields)
    stats.push_back({fmt::format("conntrack.{}", name), value});
}

}  // namespace

std::vector<Stat> Engine::stats() const {
  std::vector<Stat> stats;
  stats.push_back({"gate.is_open", is_open() ? 1u : 0u});
  add_path(stats, workers_);
  for (std::size_t port = 0; port < ports_.size(); ++port) {
    if (ports_[port].name.empty()) continue;
    std::vector<const io::Queue*> wire, host;
    for (const pipeline::PortQueues& queues : ports_[port].queues) {
      if (queues.wire != nullptr) wire.push_back(queues.wire);
      if (queues.host != nullptr) host.push_back(queues.host);
    }
    stats.push_back({fmt::format("port.{}.is_up", ports_[port].name), wire.empty() ? 0u : 1u});
    add_queue(stats, fmt::format("port.{}", ports_[port].name), wire);
    add_verdicts(stats, ports_[port].name, port, workers_);
    if (!host.empty()) add_queue(stats, fmt::format("port.{}.host", ports_[port].name), host);
  }
  add_conntrack(stats, *conntrack_);
  const fragments::Counters fragments = reassembly_->counters();
  stats.push_back({"fragments.received", fragments.received});
  stats.push_back({"fragments.reassembled", fragments.reassembled});
  stats.push_back({"fragments.failed", fragments.failed});
  stats.push_back({"fragments.timed_out", fragments.timed_out});
  stats.push_back({"memory.conntrack_bytes", conntrack_->memory_bytes()});
  stats.push_back({"memory.fragments_bytes", fragments.memory_used_bytes});
  stats.push_back({"rules.generation", rules_->generation()});
  if (other_stats_ != nullptr) {
    for (Stat& stat : other_stats_->stats()) stats.push_back(std::move(stat));
  }
  return stats;
}

}  // namespace weir::engine
