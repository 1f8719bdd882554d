#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace weir::packet {

/// Why a packet went no further. Each has a counter a worker; `weir stats` prints them by name.
/// Adding one: add it here and its name in kDropNames, in the same place.
enum class Drop : std::uint8_t {
  none,
  // The header check (wire/, pipeline/).
  other_host,  // The frame's destination MAC is somebody else's.
  truncated,
  bad_ip_header,
  bad_ip_checksum,
  bad_ip_options,
  bad_extension_header,
  not_forwardable_source,       // Martian, broadcast, multicast, loopback or link-local source.
  not_forwardable_destination,  // Loopback, link-local, limited broadcast or multicast destination.
  reverse_path,
  // Fragments (fragments/).
  fragment_malformed,
  fragment_overlap,
  fragment_timeout,
  fragment_memory,
  // Connection tracking and NAT.
  conntrack_table_full,
  conntrack_source_limit,  // The source has as many connections as it may (conntrack/limits.h),
  conntrack_zone_limit,    // or the zone.
  conntrack_dropped,
  nat_no_tuple,
  nat_link_changed,  // A masqueraded connection's route has moved to another link.
  nat_redirect,      // An ICMP redirect about a translated connection.
  helper_refused,    // Half an announcement, or one that can't be kept (helpers/).
  // Rules.
  rule,
  chain_policy,
  rejected,
  no_queue,  // A rule's verdict was queue.
  // Routing and neighbours.
  no_route,
  route_blackhole,
  route_prohibit,
  route_unreachable,
  not_a_port,  // The route leads to an interface that weir doesn't have.
  ttl_exceeded,
  too_big,
  neighbour_failed,
  neighbour_queue_full,
  // Ports.
  port_down,
  buffers_exhausted,
  not_loaded,  // No rules have been loaded yet: fail closed.
  count,
};

inline constexpr std::array<std::string_view, static_cast<std::size_t>(Drop::count)> kDropNames = {
    "none",
    "other_host",
    "truncated",
    "bad_ip_header",
    "bad_ip_checksum",
    "bad_ip_options",
    "bad_extension_header",
    "not_forwardable_source",
    "not_forwardable_destination",
    "reverse_path",
    "fragment_malformed",
    "fragment_overlap",
    "fragment_timeout",
    "fragment_memory",
    "conntrack_table_full",
    "conntrack_source_limit",
    "conntrack_zone_limit",
    "conntrack_dropped",
    "nat_no_tuple",
    "nat_link_changed",
    "nat_redirect",
    "helper_refused",
    "rule",
    "chain_policy",
    "rejected",
    "no_queue",
    "no_route",
    "route_blackhole",
    "route_prohibit",
    "route_unreachable",
    "not_a_port",
    "ttl_exceeded",
    "too_big",
    "neighbour_failed",
    "neighbour_queue_full",
    "port_down",
    "buffers_exhausted",
    "not_loaded",
};

}  // namespace weir::packet
