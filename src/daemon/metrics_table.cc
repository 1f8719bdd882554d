#include "daemon/metrics_table.h"

namespace weir::daemon {
namespace {

using Kind = Metric::Kind;

constexpr double kNanoseconds = 1e-9;

constexpr Metric kMetrics[] = {
    {"path.received", "weir_received_packets_total", "", Kind::counter, "Packets from ports."},
    {"path.forwarded", "weir_forwarded_packets_total", "", Kind::counter,
     "Packets accepted on their way from port to port."},
    {"path.to_host", "weir_delivered_packets_total", "", Kind::counter,
     "Packets handed to the host's stack."},
    {"path.from_host", "weir_host_packets_total", "", Kind::counter,
     "Packets from the host's stack."},
    {"path.generated", "weir_generated_packets_total", "", Kind::counter,
     "ICMP errors and TCP resets of weir's own."},
    {"path.icmp_limited", "weir_icmp_limited_total", "", Kind::counter,
     "ICMP errors that rate limits held back."},
    {"drop.*", "weir_dropped_packets_total", "reason", Kind::counter,
     "Packets that went no further, by reason."},

    {"port.*.rx_packets", "weir_port_receive_packets_total", "port", Kind::counter,
     "Packets that arrived."},
    {"port.*.rx_bytes", "weir_port_receive_bytes_total", "port", Kind::counter,
     "Bytes of frames that arrived."},
    {"port.*.rx_missed", "weir_port_receive_missed_total", "port", Kind::counter,
     "Packets lost before weir saw them: the device's or its ring's overflow."},
    {"port.*.tx_packets", "weir_port_transmit_packets_total", "port", Kind::counter,
     "Packets that were sent."},
    {"port.*.tx_bytes", "weir_port_transmit_bytes_total", "port", Kind::counter,
     "Bytes of frames that were sent."},
    {"port.*.tx_failed", "weir_port_transmit_failed_total", "port", Kind::counter,
     "Packets that the device or its queue refused."},
    {"port.*.forwarded", "weir_port_forwarded_packets_total", "port", Kind::counter,
     "Packets that came in here and were forwarded."},
    {"port.*.to_host", "weir_port_delivered_packets_total", "port", Kind::counter,
     "Packets that came in here and went to the host's stack."},
    {"port.*.dropped", "weir_port_dropped_packets_total", "port", Kind::counter,
     "Packets that came in here and were dropped."},
    {"port.*.host.rx_packets", "weir_port_host_receive_packets_total", "port", Kind::counter,
     "Packets that the host's stack sent by this port."},
    {"port.*.host.rx_bytes", "weir_port_host_receive_bytes_total", "port", Kind::counter,
     "Bytes of frames that the host's stack sent by this port."},
    {"port.*.host.rx_missed", "weir_port_host_receive_missed_total", "port", Kind::counter,
     "Packets of the host's stack that were lost before weir saw them."},
    {"port.*.host.tx_packets", "weir_port_host_transmit_packets_total", "port", Kind::counter,
     "Packets that were handed to the host's stack as coming in here."},
    {"port.*.host.tx_bytes", "weir_port_host_transmit_bytes_total", "port", Kind::counter,
     "Bytes of frames that were handed to the host's stack as coming in here."},
    {"port.*.host.tx_failed", "weir_port_host_transmit_failed_total", "port", Kind::counter,
     "Packets that the host's stack had no room for."},

    {"conntrack.entries", "weir_conntrack_entries", "", Kind::gauge, "Connections."},
    {"conntrack.max", "weir_conntrack_entries_limit", "", Kind::gauge, "Connections at most."},
    {"conntrack.found", "weir_conntrack_found_total", "", Kind::counter,
     "Tuples that NAT wanted and another connection had."},
    {"conntrack.invalid", "weir_conntrack_invalid_total", "", Kind::counter,
     "Packets that belong to no connection and can't begin one."},
    {"conntrack.insert", "weir_conntrack_insert_total", "", Kind::counter,
     "Connections made by tools."},
    {"conntrack.insert_failed", "weir_conntrack_insert_failed_total", "", Kind::counter,
     "Connections that could not be published."},
    {"conntrack.drop", "weir_conntrack_drop_total", "", Kind::counter,
     "Packets dropped by tracking."},
    {"conntrack.early_drop", "weir_conntrack_early_drop_total", "", Kind::counter,
     "Unassured connections that went to make room."},
    {"conntrack.error", "weir_conntrack_error_total", "", Kind::counter,
     "ICMP errors that are about no connection."},
    {"conntrack.search_restart", "weir_conntrack_search_restart_total", "", Kind::counter,
     "Look-ups that met a growing index."},
    {"conntrack.clash_resolve", "weir_conntrack_clash_resolve_total", "", Kind::counter,
     "Packets that lost the race to create their connection and went on with the winner's."},
    {"conntrack.chain_too_long", "weir_conntrack_chain_too_long_total", "", Kind::counter,
     "Connections for which the index had no room within its bound."},
    {"conntrack.created", "weir_conntrack_created_total", "", Kind::counter, "Connections begun."},
    {"conntrack.destroyed", "weir_conntrack_destroyed_total", "", Kind::counter,
     "Connections ended."},
    {"conntrack.refused", "weir_conntrack_refused_total", "", Kind::counter,
     "New connections refused because the table was full."},
    {"conntrack.refused_source", "weir_conntrack_refused_by_source_total", "", Kind::counter,
     "New connections refused because their source has as many as it may."},
    {"conntrack.refused_zone", "weir_conntrack_refused_by_zone_total", "", Kind::counter,
     "New connections refused because their zone has as many as it may."},
    {"conntrack.counted_sources", "weir_conntrack_sources", "", Kind::gauge,
     "Sources that have connections now; 0 where none is limited."},
    {"conntrack.events_lost", "weir_conntrack_events_lost_total", "", Kind::counter,
     "Events that no tool could get: a worker's ring was full."},

    {"fragments.received", "weir_fragments_received_total", "", Kind::counter, "Fragments."},
    {"fragments.reassembled", "weir_fragments_reassembled_total", "", Kind::counter,
     "Datagrams put together."},
    {"fragments.failed", "weir_fragments_failed_total", "", Kind::counter,
     "Datagrams given up: overlapping, malformed, no memory."},
    {"fragments.timed_out", "weir_fragments_timed_out_total", "", Kind::counter,
     "Datagrams whose last fragment didn't come in time."},
    {"memory.conntrack_bytes", "weir_conntrack_memory_bytes", "", Kind::gauge,
     "Memory of the connection table."},
    {"memory.fragments_bytes", "weir_fragments_memory_bytes", "", Kind::gauge,
     "Memory of fragments that wait."},
    {"rules.generation", "weir_ruleset_generation", "", Kind::gauge,
     "Grows with each change of the ruleset."},

    {"gate.is_open", "weir_forwarding", "", Kind::gauge,
     "1 once rules are loaded; before, everything is dropped."},
    {"port.*.is_up", "weir_port_up", "port", Kind::gauge, "1 while its device is there."},
    {"worker.*.rounds", "weir_worker_rounds_total", "worker", Kind::counter,
     "Rounds over ports and timers."},
    {"worker.*.cpu_ns", "weir_worker_busy_seconds_total", "worker", Kind::counter,
     "Processor time of a worker.", kNanoseconds},
    {"netlink.sessions", "weir_netlink_sockets", "", Kind::gauge, "Netlink sockets of tools."},
    {"netlink.lost_datagrams", "weir_netlink_lost_total", "", Kind::counter,
     "Datagrams that tools were too slow to read; each got ENOBUFS."},
    {"reload.done", "weir_reloads_total", "", Kind::counter, "Reloads that were applied."},
    {"reload.refused", "weir_reloads_refused_total", "", Kind::counter,
     "Reloads that changed nothing, because something was wrong."},
    {"process.resident_bytes", "process_resident_memory_bytes", "", Kind::gauge,
     "Resident memory of the engine's process."},
    {"process.cpu_ns", "process_cpu_seconds_total", "", Kind::counter,
     "Processor time of the engine's process.", kNanoseconds},
    {"process.start_ns", "process_start_time_seconds", "", Kind::gauge,
     "When the engine's process was started, since 1970.", kNanoseconds},
};

/// The word that the pattern's "*" stands for; the empty word when it has none and is the same.
std::optional<std::string_view> match(std::string_view pattern, std::string_view stat) {
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos)
    return pattern == stat ? std::optional(std::string_view()) : std::nullopt;
  const std::string_view begin = pattern.substr(0, star);
  const std::string_view end = pattern.substr(star + 1);
  if (!stat.starts_with(begin)) return std::nullopt;
  stat.remove_prefix(begin.size());
  if (!stat.ends_with(end)) return std::nullopt;
  stat.remove_suffix(end.size());
  if (stat.empty() || stat.find('.') != std::string_view::npos) return std::nullopt;
  return stat;
}

}  // namespace

std::span<const Metric> metrics() { return kMetrics; }

std::optional<MetricOf> metric_of(std::string_view stat) {
  for (const Metric& metric : kMetrics) {
    if (const auto label = match(metric.stat, stat)) return MetricOf{&metric, *label};
  }
  return std::nullopt;
}

}  // namespace weir::daemon
