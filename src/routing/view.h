#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "packet/drop.h"
#include "routing/types.h"

namespace weir::routing {

class PrefixTrie;

/// What becomes of a packet that came in by an interface (ip_route_input_slow, ip6_route_input).
struct InputDecision {
  enum class Action : std::uint8_t {
    forward,
    local,       // Ours: unicast, or a broadcast or multicast that the host may want.
    drop,
  };
  Action action = Action::drop;
  packet::Drop drop = packet::Drop::none;  // Why, when dropped.
  Route route;
};

/// The routing state of one moment, as workers read it: links, addresses, policy rules, nexthop objects
/// and the tables.
///
/// A View is immutable and small; the tables that it points to are shared with later Views and change in
/// place, one prefix at a time, safely for concurrent readers (prefix_trie.h). So a route that flaps costs
/// its own prefix and nothing else, and a View is only rebuilt when links, addresses, rules or nexthop
/// objects change. A View, and every pointer got from it, is valid within the epoch that it was read in.
class View {
 public:
  View();
  ~View();
  View(const View&) = delete;
  View& operator=(const View&) = delete;

  /// The route of a packet: rules in order, longest prefix, tos, metric, multipath. What fib_lookup and
  /// ip6_route_*_lookup decide, without their caches. Not found: type unspecified (the kernel's
  /// ENETUNREACH).
  Route lookup(const FlowKey& key) const;
  /// As lookup for several keys at once, so that their memory accesses overlap.
  void lookup(std::span<const FlowKey> keys, std::span<Route> routes) const;

  /// Routes a packet that came in by key.iif, with the checks of source and destination that the kernel
  /// makes before it forwards: martians, reverse path as configured, forwarding switched off.
  InputDecision input(const FlowKey& key) const;

  /// Whether the source address is acceptable on key.iif (fib_validate_source): none, reverse_path or
  /// not_forwardable_source. IPv4; IPv6 has no such check and answers none.
  packet::Drop check_source(const FlowKey& key) const;

  /// What the host takes an address for: local, broadcast, multicast, unicast, or the type of the route
  /// (inet_addr_type, ipv6's RTF_LOCAL/RTF_ANYCAST); unspecified when there is no route. With `ifindex` only
  /// routes through that interface count (inet_dev_addr_type). The tables that count: local, and for IPv4
  /// also what has no entry there is unicast.
  RouteType address_type(wire::Family family, const wire::Address& address,
                         std::uint32_t ifindex = 0) const;
  bool is_local(wire::Family family, const wire::Address& address) const {
    return address_type(family, address) == RouteType::local;
  }

  /// The source address that the host would give a packet to `dst` along `route` (prefsrc, else
  /// inet_select_addr / RFC 6724 over the interface's addresses). Zero when it has none.
  wire::Address source_for(wire::Family family, const wire::Address& dst, const Route& route) const;

  /// The source of an ICMP error about a packet from key.src to key.dst that came in by key.iif: the
  /// destination when that is ours, else the address the host would use towards key.src
  /// (icmp_errors_use_inbound_ifaddr=0; icmpv6 chooses likewise). Fills in `back`, the route to key.src.
  wire::Address icmp_source(const FlowKey& key, Route& back) const;

  /// An interface's first primary address of at most the given scope (masquerade, redirect:
  /// inet_select_addr(dev, dst, RT_SCOPE_UNIVERSE); for IPv6 the RFC 6724 choice towards dst). Zero: none.
  wire::Address interface_address(std::uint32_t ifindex, wire::Family family,
                                  const wire::Address& dst) const;

  /// Null when there is no such link.
  const Link* link(std::uint32_t ifindex) const;
  const Link* link(std::string_view name) const;
  const std::vector<Link>& links() const { return links_; }
  const InterfaceSettings& settings(std::uint32_t ifindex) const;
  std::span<const InterfaceAddress> addresses(std::uint32_t ifindex) const;
  const std::vector<InterfaceAddress>& addresses() const { return addresses_; }
  std::span<const PolicyRule> rules(wire::Family family) const;

  /// Grows with every View that is published.
  std::uint64_t generation() const { return generation_; }

 private:
  friend class Database;
  struct Rule;
  struct Match;
  struct WayOut;

  const PrefixTrie* table(wire::Family family, std::uint32_t id) const;
  Match find(const FlowKey& key, std::uint8_t least_scope) const;
  Match find_in(const PrefixTrie& trie, const FlowKey& key, std::uint8_t least_scope) const;
  bool matches(const Rule& rule, const FlowKey& key) const;
  bool is_suppressed(const Rule& rule, const Match& match) const;
  bool try_ip(const RouteEntry& entry, const FlowKey& key, std::uint8_t least_scope,
              Match& match) const;
  bool try_ip6(std::span<const RouteEntry> entries, const FlowKey& key, Match& match) const;
  const NextHop* select(const RouteEntry& entry, const FlowKey& key) const;
  bool is_usable(const NextHop& hop, wire::Family family) const;
  std::span<const NextHop> ways(const RouteEntry& entry, bool& is_blackhole) const;
  Route finish(const Match& match, const FlowKey& key) const;
  wire::Address source_ip(const wire::Address& dst, std::uint32_t ifindex, std::uint8_t scope) const;
  wire::Address source_ip6(const wire::Address& dst, std::uint32_t ifindex) const;

  std::uint64_t generation_ = 0;
  std::uint64_t hash_key_ = 0;
  GlobalSettings global_;
  bool has_custom_rules_ = false;  // IPv4 rules or local routes beside the kernel's own three.
  std::vector<Link> links_;                        // By ifindex.
  std::vector<InterfaceSettings> settings_;        // As links_.
  std::vector<std::uint32_t> first_links_;         // ifindex -> position in links_ + 1, for small ones.
  std::vector<InterfaceAddress> addresses_;        // By ifindex, then in the kernel's order.
  std::vector<Rule> rules_ip_, rules_ip6_;         // In order.
  std::vector<PolicyRule> plain_rules_ip_, plain_rules_ip6_;
  std::unordered_map<std::uint32_t, NextHopObject> objects_;
  std::unordered_map<std::uint32_t, const PrefixTrie*> tables_ip_, tables_ip6_;
};

}  // namespace weir::routing
