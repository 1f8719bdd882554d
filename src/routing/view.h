#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/siphash.h"
#include "packet/drop.h"
#include "routing/types.h"

namespace weir::routing {

class PrefixTrie;
struct PrefixRoutes;

/// What becomes of a packet that came in by an interface (ip_route_input_slow, ip6_route_input).
struct InputDecision {
  enum class Action : std::uint8_t {
    forward,
    local,  // Ours: unicast, or a broadcast or multicast that the host may want.
    drop,
  };
  Action action = Action::drop;
  packet::Drop drop = packet::Drop::none;  // Why, when dropped.
  Route route;
};

/// The routing state of one moment, as workers read it: links, addresses, policy rules, nexthop
/// objects and the tables.
///
/// A View is immutable and small; the tables that it points to are shared with later Views and
/// change in place, one prefix at a time, safely for concurrent readers (prefix_trie.h). So a route
/// that flaps costs its own prefix and nothing else, and a View is only rebuilt when links,
/// addresses, rules or nexthop objects change. A View, and every pointer got from it, is valid
/// within the epoch that it was read in.
class View {
 public:
  View();
  ~View();
  View(const View&) = delete;
  View& operator=(const View&) = delete;

  /// The route of a packet: rules in order, longest prefix, tos, metric, multipath. What fib_lookup
  /// and ip6_route_*_lookup decide, without their caches. Not found: type unspecified (the kernel's
  /// ENETUNREACH).
  Route lookup(const FlowKey& key) const;
  /// As lookup, but not found unless one of the route's ways out is through `ifindex`
  /// (fib_info_nh_uses_dev): the question of a reverse path check.
  Route lookup_through(const FlowKey& key, std::uint32_t ifindex) const;
  /// As lookup for several keys at once, so that their memory accesses overlap.
  void lookup(std::span<const FlowKey> keys, std::span<Route> routes) const;

  /// Routes a packet that came in by key.iif, with the checks of source and destination that the
  /// kernel makes before it forwards: martians, reverse path as configured.
  InputDecision input(const FlowKey& key) const;

  /// Whether the source address is acceptable on key.iif (fib_validate_source): none, reverse_path
  /// or not_forwardable_source. For packets to this host; input() checks the forwarded. IPv4; IPv6
  /// has no such check and answers none.
  packet::Drop check_source(const FlowKey& key) const { return check_source(key, 0); }

  /// What the host takes an address for: local, broadcast, multicast, unicast, or the type of the
  /// route for IPv6. With `ifindex` only that interface's addresses are local. IPv4 asks the local
  /// table alone, so what isn't there is unicast (inet_dev_addr_type); IPv6 asks for the route
  /// (nft_fib_ipv6.c).
  RouteType address_type(wire::Family family, const wire::Address& address,
                         std::uint32_t ifindex = 0) const;
  bool is_local(wire::Family family, const wire::Address& address) const {
    return address_type(family, address) == RouteType::local;
  }

  /// The source address that the host would give a packet to `dst` along `route` (prefsrc, else
  /// inet_select_addr / RFC 6724 over the interface's addresses). Zero when it has none.
  wire::Address source_for(wire::Family family, const wire::Address& dst, const Route& route) const;

  /// The source of an ICMP error about a packet from key.src to key.dst that came in by key.iif:
  /// the destination when that is ours, else the address the host would use towards key.src
  /// (icmp_errors_use_inbound_ifaddr=0; icmpv6 chooses likewise). Fills in `back`, the route to
  /// key.src.
  wire::Address icmp_source(const FlowKey& key, Route& back) const;

  /// An interface's first primary address of at most the given scope (masquerade, redirect:
  /// inet_select_addr(dev, dst, RT_SCOPE_UNIVERSE); for IPv6 the RFC 6724 choice towards dst).
  /// Zero: none.
  wire::Address interface_address(std::uint32_t ifindex, wire::Family family,
                                  const wire::Address& dst) const;

  /// Null when there is no such link.
  const Link* link(std::uint32_t ifindex) const {
    const std::size_t position = link_position(ifindex);
    return position < links_.size() ? &links_[position] : nullptr;
  }
  const Link* link(std::string_view name) const;
  /// The name of a link for rules to compare; empty when there is no such link.
  const PaddedName& padded_name(std::uint32_t ifindex) const {
    static constexpr PaddedName kNone{};
    const std::size_t position = link_position(ifindex);
    return position < names_.size() ? names_[position] : kNone;
  }
  const std::vector<Link>& links() const { return links_; }
  const InterfaceSettings& settings(std::uint32_t ifindex) const {
    static constexpr InterfaceSettings kDefault{};
    const std::size_t position = link_position(ifindex);
    return position < settings_.size() ? settings_[position] : kDefault;
  }
  std::span<const InterfaceAddress> addresses(std::uint32_t ifindex) const;
  const std::vector<InterfaceAddress>& addresses() const { return addresses_; }

  /// Grows with every View that is published.
  std::uint64_t generation() const { return generation_; }

 private:
  friend class Database;

  /// A policy rule with its names looked up.
  struct Rule {
    PolicyRule rule;
    std::uint32_t iif = 0;  // Zero: any.
    std::uint32_t oif = 0;
    bool never_matches = false;         // Names an interface that doesn't exist, or the like.
    bool always_matches = false;        // Says no condition: the kernel's own rules.
    const PrefixTrie* table = nullptr;  // Of to_table.
    std::size_t next = 0;  // Where go_to goes on; the rule count when its target is missing.
  };

  /// What a look-up found before it chose one way out of several.
  struct Match {
    RouteType type = RouteType::unspecified;
    const RouteEntry* entry = nullptr;  // Null when a rule decided.
    std::uint8_t prefix_length = 0;
    std::uint32_t table = 0;
  };

  /// The hops that a route may take: its own or its nexthop object's.
  struct Ways {
    std::span<const NextHop> hops;
    bool is_blackhole = false;
  };

  Match find(const FlowKey& key) const;
  Match find_in(const PrefixTrie& trie, const FlowKey& key) const;
  bool matches(const Rule& rule, const FlowKey& key) const;
  bool is_suppressed(const Rule& rule, const Match& match) const;
  Match try_ip(const PrefixRoutes& routes, const FlowKey& key) const;
  Match try_ip6(const PrefixRoutes& routes, const FlowKey& key) const;
  Ways ways(const RouteEntry& entry) const {
    return entry.next_hop_id == 0 ? Ways{.hops = entry.next_hops} : object_ways(entry);
  }
  Ways object_ways(const RouteEntry& entry) const;
  bool is_usable(const NextHop& hop, const RouteEntry& entry) const;
  const NextHop* select(const RouteEntry& entry, const FlowKey& key) const;
  std::uint64_t flow_hash(const FlowKey& key) const;
  Route finish(const Match& match, const FlowKey& key) const;

  InputDecision input_ip(const FlowKey& key) const;
  InputDecision input_ip6(const FlowKey& key) const;
  packet::Drop check_source(const FlowKey& key, std::uint32_t out_ifindex) const;
  packet::Drop check_path_back(const FlowKey& key, std::uint32_t out_ifindex) const;
  wire::Address source_ip(const wire::Address& dst, std::uint32_t ifindex,
                          std::uint8_t scope) const;
  wire::Address source_ip6(const wire::Address& dst, std::uint32_t ifindex) const;
  /// Where a link stands in links_; its size for none.
  std::size_t link_position(std::uint32_t ifindex) const {
    if (ifindex >= positions_.size()) return find_link_position(ifindex);
    return positions_[ifindex] == 0 ? links_.size() : positions_[ifindex] - 1;
  }
  std::size_t find_link_position(std::uint32_t ifindex) const;
  bool is_local_ip(const wire::Address& address) const;

  std::uint64_t generation_ = 0;
  HashKey hash_key_;
  GlobalSettings global_;
  bool has_custom_rules_ = false;            // IPv4 rules beside the kernel's own three.
  std::vector<Link> links_;                  // By ifindex.
  std::vector<InterfaceSettings> settings_;  // As links_.
  std::vector<PaddedName> names_;            // Likewise.
  std::vector<std::uint32_t> positions_;     // ifindex -> position in links_ + 1, for small ones.
  std::vector<InterfaceAddress> addresses_;  // By ifindex, then in the kernel's order.
  std::vector<Rule> rules_ip_, rules_ip6_;   // In order.
  std::unordered_map<std::uint32_t, NextHopObject> objects_;
  const PrefixTrie* local_ip_ = nullptr;
};

}  // namespace weir::routing
