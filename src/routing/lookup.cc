// How a packet's route is found: rules in order, in each table the longest prefix, there the first
// route that fits, of that one way out (fib_rules_lookup, fib_table_lookup, fib6_table_lookup).

#include <algorithm>

#include "routing/prefix_trie.h"
#include "routing/view.h"

namespace weir::routing {

using wire::Family;

namespace {

constexpr std::uint32_t kLoopback =
    1;  // What rules see as incoming interface of the host's own packets.
constexpr std::uint8_t kDscpMask = 0xfc;

bool is_in(const wire::Prefix& prefix, const FlowKey& key, const wire::Address& address) {
  return prefix.length == 0 || prefix.contains(key.family, address);
}

bool is_port_in(Be16 port, std::uint16_t low, std::uint16_t high) {
  return high == 0 || (port.host() >= low && port.host() <= high);
}

/// IPv6 destinations that mean something on one link only (rt6_need_strict).
bool is_bound_to_link(const wire::Address& address) {
  const auto& bytes = address.bytes;
  return bytes[0] == 0xff || (bytes[0] == 0xfe && (bytes[1] & 0xc0) == 0x80);
}

/// Which interface an IPv6 look-up prefers, and whether it accepts no other.
struct Binding {
  std::uint32_t ifindex = 0;
  bool is_strict = false;
};

Binding binding(const FlowKey& key) {
  const bool is_link_bound = is_bound_to_link(key.dst);
  if (key.oif != 0) return {key.oif, is_link_bound || key.src.is_zero()};
  if (key.iif != 0) return {key.iif, is_link_bound};
  return {};
}

bool has_ways_out(RouteType type) {
  return type >= RouteType::unicast && type <= RouteType::multicast;
}

}  // namespace

Route View::lookup(const FlowKey& key) const { return finish(find(key), key); }

Route View::lookup_through(const FlowKey& key, std::uint32_t ifindex) const {
  const Match match = find(key);
  if (match.entry == nullptr) return {.type = match.type};
  for (const NextHop& hop : ways(*match.entry).hops) {
    if (hop.ifindex != ifindex) continue;
    Route route = finish(match, key);
    route.out_ifindex = ifindex;
    return route;
  }
  return {};
}

void View::lookup(std::span<const FlowKey> keys, std::span<Route> routes) const {
  for (const Rule& rule : rules_ip_)
    if (rule.table != nullptr) rule.table->prefetch();
  for (std::size_t i = 0; i < keys.size(); ++i) routes[i] = lookup(keys[i]);
}

View::Match View::find(const FlowKey& key) const {
  const std::vector<Rule>& rules = key.family == Family::ip ? rules_ip_ : rules_ip6_;
  std::size_t i = 0;
  while (i < rules.size()) {
    const Rule& rule = rules[i++];
    if (!matches(rule, key)) continue;
    switch (rule.rule.action) {
      case RuleAction::nop:
        continue;
      case RuleAction::go_to:
        i = std::max(i, rule.next);  // Only ever forward.
        continue;
      case RuleAction::unreachable:
        return {};  // Unlike an unreachable route: "network unreachable", as without any route.
      case RuleAction::blackhole:
      case RuleAction::prohibit:
        return {.type = static_cast<RouteType>(rule.rule.action)};
      case RuleAction::to_table:
        break;
    }
    const Match match = find_in(*rule.table, key);
    const bool goes_on = match.entry == nullptr || match.type == RouteType::throw_on;
    if (!goes_on && !is_suppressed(rule, match)) return match;
  }
  return {};
}

bool View::matches(const Rule& rule, const FlowKey& key) const {
  if (rule.always_matches) return true;
  if (rule.never_matches) return false;
  const PolicyRule& r = rule.rule;
  const std::uint32_t iif = key.iif == 0 ? kLoopback : key.iif;
  const bool is_match =
      (rule.iif == 0 || rule.iif == iif) && (rule.oif == 0 || rule.oif == key.oif) &&
      ((r.mark ^ key.mark) & r.mark_mask) == 0 && is_in(r.from, key, key.src) &&
      is_in(r.to, key, key.dst) && (r.tos == 0 || r.tos == (key.tos & kDscpMask)) &&
      (r.protocol == 0 || r.protocol == key.protocol) &&
      is_port_in(key.src_port, r.src_port_low, r.src_port_high) &&
      is_port_in(key.dst_port, r.dst_port_low, r.dst_port_high);
  return is_match != r.is_inverted;
}

bool View::is_suppressed(const Rule& rule, const Match& match) const {
  if (!has_ways_out(match.type)) return false;
  if (match.prefix_length <= rule.rule.suppress_prefix_length) return true;
  if (rule.rule.suppress_group < 0) return false;
  const Ways out = ways(*match.entry);
  if (out.hops.empty()) return false;
  const Link* const device = link(out.hops.front().ifindex);
  return device != nullptr && device->group == static_cast<std::uint32_t>(rule.rule.suppress_group);
}

View::Match View::find_in(const PrefixTrie& trie, const FlowKey& key) const {
  Match match;
  trie.longest_first(key.dst, [&](const PrefixRoutes& routes) {
    match = key.family == Family::ip ? try_ip(routes, key) : try_ip6(routes, key);
    return match.entry != nullptr;
  });
  return match;
}

View::Match View::try_ip(const PrefixRoutes& routes, const FlowKey& key) const {
  for (const RouteEntry& entry : routes.entries) {
    if (entry.tos != 0 && entry.tos != (key.tos & kDscpMask)) continue;
    Match match{entry.type, &entry, routes.length, entry.table};
    if (!has_ways_out(entry.type)) return match;
    const Ways out = ways(entry);
    if (out.is_blackhole) {
      match.type = RouteType::blackhole;
      return match;
    }
    for (const NextHop& hop : out.hops) {
      const bool is_wanted = key.oif == 0 || key.oif == hop.ifindex;
      if (is_wanted && is_usable(hop, entry)) return match;
    }
  }
  return {};
}

/// Of the routes with the lowest metric that has a usable one, the first; one through the interface
/// that the packet is bound to before others (find_rr_leaf, rt6_score_route).
View::Match View::try_ip6(const PrefixRoutes& routes, const FlowKey& key) const {
  const Binding bound = binding(key);
  Match best;
  for (const RouteEntry& entry : routes.entries) {
    if (best.entry != nullptr && entry.priority != best.entry->priority) break;
    Match match{entry.type, &entry, routes.length, entry.table};
    const Ways out = ways(entry);
    if (!has_ways_out(entry.type) || out.is_blackhole) {
      if (out.is_blackhole) match.type = RouteType::blackhole;
      if (best.entry == nullptr && !bound.is_strict) best = match;
      continue;
    }
    bool is_usable_at_all = false;
    bool is_preferred = false;
    for (const NextHop& hop : out.hops) {
      if (!is_usable(hop, entry)) continue;
      is_usable_at_all = true;
      is_preferred |= bound.ifindex == 0 || hop.ifindex == bound.ifindex;
    }
    if (is_preferred) return match;
    if (is_usable_at_all && !bound.is_strict && best.entry == nullptr) best = match;
  }
  return best;
}

View::Ways View::object_ways(const RouteEntry& entry) const {
  const auto object = objects_.find(entry.next_hop_id);
  if (object == objects_.end()) return {.hops = entry.next_hops};
  return {.hops = object->second.next_hops, .is_blackhole = object->second.is_blackhole};
}

bool View::is_usable(const NextHop& hop, const RouteEntry& entry) const {
  if (hop.is_dead) return false;
  // The host's own IPv4 addresses stay reachable while their interface is down.
  const bool is_ip = entry.destination.family == Family::ip;
  if (is_ip && entry.type == RouteType::local) return true;
  const std::size_t position = link_position(hop.ifindex);
  if (position >= links_.size() || !links_[position].is_up()) return false;
  const InterfaceSettings& interface = settings_[position];
  const bool ignores_linkdown =
      is_ip ? interface.ignore_linkdown_ip : interface.ignore_linkdown_ip6;
  return !ignores_linkdown || links_[position].has_carrier();
}

/// Multipath by flow, in proportion to the weights: by addresses, or by addresses and ports, as the
/// kernel's fib_multipath_hash_policy 0 and 1. Its hash key is secret, so which flow goes where
/// differs.
std::uint64_t View::flow_hash(const FlowKey& key) const {
  const std::uint8_t policy = key.family == Family::ip ? global_.multipath_hash_policy_ip
                                                       : global_.multipath_hash_policy_ip6;
  std::uint64_t transport = 0;
  if (policy == 1 || key.family == Family::ip6) transport = key.protocol;
  if (policy == 1) {
    transport |= static_cast<std::uint64_t>(key.src_port.raw) << 16 |
                 static_cast<std::uint64_t>(key.dst_port.raw) << 32;
  }
  const std::uint8_t* const src = key.src.bytes.data();
  const std::uint8_t* const dst = key.dst.bytes.data();
  return siphash13<5>(
      hash_key_, {load<std::uint64_t>(src), load<std::uint64_t>(src + 8), load<std::uint64_t>(dst),
                  load<std::uint64_t>(dst + 8), transport});
}

const NextHop* View::select(const RouteEntry& entry, const FlowKey& key) const {
  const std::span<const NextHop> hops = ways(entry).hops;
  if (hops.size() == 1) return is_usable(hops.front(), entry) ? &hops.front() : nullptr;
  const bool is_ip6 = key.family == Family::ip6;
  const Binding bound = is_ip6 ? binding(key) : Binding{key.oif, key.oif != 0};
  const bool is_fixed = is_ip6 ? bound.is_strict || key.oif != 0 : bound.is_strict;
  const NextHop* only = nullptr;
  std::uint64_t total = 0;
  for (const NextHop& hop : hops) {
    if (!is_usable(hop, entry)) continue;
    if (is_fixed && hop.ifindex == bound.ifindex) return &hop;
    only = &hop;
    total += hop.weight;
  }
  if (only == nullptr || total == only->weight) return only;

  std::uint64_t position = ((flow_hash(key) >> 32) * total) >> 32;
  for (const NextHop& hop : hops) {
    if (!is_usable(hop, entry)) continue;
    if (position < hop.weight) return &hop;
    position -= hop.weight;
  }
  return only;
}

Route View::finish(const Match& match, const FlowKey& key) const {
  Route route;
  route.type = match.type;
  if (match.entry == nullptr) return route;
  const RouteEntry& entry = *match.entry;
  route.prefix_length = match.prefix_length;
  route.scope = entry.scope;
  route.table = match.table;
  route.priority = entry.priority;
  route.prefsrc = entry.prefsrc;
  if (!has_ways_out(match.type)) return route;
  const NextHop* const hop = select(entry, key);
  if (hop == nullptr) return Route{};

  route.out_ifindex = hop->ifindex;
  route.has_gateway = hop->gateway_family != Family::none;
  route.next_hop = route.has_gateway ? hop->gateway : key.dst;
  route.next_hop_family = route.has_gateway ? hop->gateway_family : key.family;
  const Link* const device = link(hop->ifindex);
  route.mtu = entry.mtu != 0 || device == nullptr ? entry.mtu : device->mtu;
  return route;
}

}  // namespace weir::routing
