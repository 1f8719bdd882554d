// Which packets that came in are forwarded, kept or refused (ip_route_input_slow,
// fib_validate_source, ip6_route_input, ip6_forward).

#include "routing/prefix_trie.h"
#include "routing/view.h"

namespace weir::routing {

using packet::Drop;
using wire::Family;
using Action = InputDecision::Action;

namespace {

bool is_loopback_ip(const wire::Address& address) { return address.bytes[0] == 127; }
bool is_multicast_ip(const wire::Address& address) { return (address.bytes[0] & 0xf0) == 0xe0; }
bool is_limited_broadcast(const wire::Address& address) { return address.v4().raw == 0xffffffff; }

bool is_multicast_ip6(const wire::Address& address) { return address.bytes[0] == 0xff; }
bool is_link_local_ip6(const wire::Address& address) {
  return address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
}
bool is_loopback_ip6(const wire::Address& address) {
  wire::Address loopback;
  loopback.bytes[15] = 1;
  return address == loopback;
}

InputDecision dropped(Drop why, const Route& route = {}) { return {Action::drop, why, route}; }

/// Why a packet isn't forwarded along a route that leads nowhere.
Drop refusal(RouteType type) {
  switch (type) {
    case RouteType::unspecified:
      return Drop::no_route;
    case RouteType::blackhole:
      return Drop::route_blackhole;
    case RouteType::unreachable:
      return Drop::route_unreachable;
    case RouteType::prohibit:
      return Drop::route_prohibit;
    default:
      return Drop::not_forwardable_destination;
  }
}

}  // namespace

InputDecision View::input(const FlowKey& key) const {
  return key.family == Family::ip ? input_ip(key) : input_ip6(key);
}

InputDecision View::input_ip(const FlowKey& key) const {
  const InterfaceSettings& interface = settings(key.iif);
  if (is_multicast_ip(key.src) || is_limited_broadcast(key.src))
    return dropped(Drop::not_forwardable_source);
  if (is_limited_broadcast(key.dst) || (key.src.is_zero() && key.dst.is_zero()))
    return {Action::local, Drop::none, {.type = RouteType::broadcast}};
  if (key.src.is_zero() && !is_multicast_ip(key.dst)) return dropped(Drop::not_forwardable_source);
  if (key.dst.is_zero()) return dropped(Drop::not_forwardable_destination);
  if (!interface.route_localnet) {
    if (is_loopback_ip(key.dst)) return dropped(Drop::not_forwardable_destination);
    if (is_loopback_ip(key.src)) return dropped(Drop::not_forwardable_source);
  }
  if (is_multicast_ip(key.dst)) return {Action::local, Drop::none, {.type = RouteType::multicast}};

  const Match match = find(key);
  if (match.type == RouteType::local || match.type == RouteType::broadcast) {
    const Drop bad = check_source(key, 0);
    if (bad != Drop::none) return dropped(bad);
    return {Action::local, Drop::none, finish(match, key)};
  }
  const Route route = finish(match, key);
  if (route.type != RouteType::unicast) return dropped(refusal(route.type), route);
  const Drop bad = check_source(key, route.out_ifindex);
  if (bad != Drop::none) return dropped(bad, route);
  return {Action::forward, Drop::none, route};
}

InputDecision View::input_ip6(const FlowKey& key) const {
  if (is_multicast_ip6(key.src) || is_loopback_ip6(key.src))
    return dropped(Drop::not_forwardable_source);
  if (is_loopback_ip6(key.dst)) return dropped(Drop::not_forwardable_destination);
  if (is_multicast_ip6(key.dst)) return {Action::local, Drop::none, {.type = RouteType::multicast}};

  const Route route = lookup(key);
  if (route.type == RouteType::local || route.type == RouteType::anycast)
    return {Action::local, Drop::none, route};
  if (route.type != RouteType::unicast) return dropped(refusal(route.type), route);
  if (key.src.is_zero() || is_link_local_ip6(key.src))
    return dropped(Drop::not_forwardable_source, route);
  if (is_link_local_ip6(key.dst)) return dropped(Drop::not_forwardable_destination, route);
  return {Action::forward, Drop::none, route};
}

Drop View::check_source(const FlowKey& key, std::uint32_t out_ifindex) const {
  if (key.family != Family::ip) return Drop::none;
  const InterfaceSettings& interface = settings(key.iif);
  if (interface.rp_filter != 0 || has_custom_rules_) return check_path_back(key, out_ifindex);
  if (interface.accept_local) return Drop::none;
  return is_local_ip(key.src) ? Drop::not_forwardable_source : Drop::none;
}

/// Looks up the way back to the source and asks that it leads through the interface the packet came
/// in by (strict), or that there is one at all (loose). RFC 3704; __fib_validate_source.
Drop View::check_path_back(const FlowKey& key, std::uint32_t out_ifindex) const {
  const InterfaceSettings& interface = settings(key.iif);
  const bool is_filtered = interface.rp_filter != 0;
  const Drop without_way = is_filtered ? Drop::reverse_path : Drop::none;
  FlowKey back{.family = key.family,
               .tos = key.tos,
               .protocol = key.protocol,
               .dst = key.src,
               .src = key.dst,
               .iif = out_ifindex,
               .mark = interface.src_valid_mark ? key.mark : 0,
               .src_port = key.src_port,
               .dst_port = key.dst_port};
  const Match match = find(back);
  const bool is_error = match.type == RouteType::unspecified || match.type >= RouteType::blackhole;
  if (is_error) return without_way;
  const bool is_accepted = match.type == RouteType::unicast ||
                           (match.type == RouteType::local && interface.accept_local);
  if (!is_accepted) return Drop::not_forwardable_source;
  for (const NextHop& hop : ways(*match.entry).hops)
    if (hop.ifindex == key.iif) return Drop::none;

  bool has_address = false;
  for (const InterfaceAddress& own : addresses(key.iif)) has_address |= own.family == key.family;
  if (!has_address) return without_way;
  return interface.rp_filter == 1 ? Drop::reverse_path : Drop::none;
}

}  // namespace weir::routing
