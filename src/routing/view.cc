#include "routing/view.h"

#include <algorithm>

#include "routing/prefix_trie.h"

namespace weir::routing {

using wire::Family;

View::View() = default;
View::~View() = default;

std::size_t View::find_link_position(std::uint32_t ifindex) const {
  const auto at =
      std::lower_bound(links_.begin(), links_.end(), ifindex,
                       [](const Link& link, std::uint32_t i) { return link.ifindex < i; });
  const bool is_there = at != links_.end() && at->ifindex == ifindex;
  return is_there ? static_cast<std::size_t>(at - links_.begin()) : links_.size();
}

const Link* View::link(std::string_view name) const {
  const auto at = std::find_if(links_.begin(), links_.end(),
                               [&](const Link& link) { return link.name == name; });
  return at == links_.end() ? nullptr : &*at;
}

std::span<const InterfaceAddress> View::addresses(std::uint32_t ifindex) const {
  const auto range = std::ranges::equal_range(addresses_, ifindex, {}, &InterfaceAddress::ifindex);
  return {range.begin(), range.end()};
}

/// Whether address_type() calls an IPv4 address local, for the source of every packet.
bool View::is_local_ip(const wire::Address& address) const {
  if (address.is_zero()) return false;
  bool is_local = false;
  local_ip_->longest_first(address, [&](const PrefixRoutes& routes) {
    const Match match = try_ip(routes, {.family = Family::ip, .dst = address});
    is_local = match.type == RouteType::local;
    return match.entry != nullptr;
  });
  return is_local;
}

RouteType View::address_type(Family family, const wire::Address& address,
                             std::uint32_t ifindex) const {
  if (family == Family::ip) {
    const std::uint8_t first = address.bytes[0];
    if (address.is_zero() || address.v4().raw == 0xffffffff) return RouteType::broadcast;
    if ((first & 0xf0) == 0xe0) return RouteType::multicast;
    if (local_ip_ == nullptr) return RouteType::unicast;
    const Match match = find_in(*local_ip_, {.family = family, .dst = address});
    if (match.entry == nullptr) return RouteType::unicast;
    const Ways out = ways(*match.entry);
    const bool is_its_device = !out.hops.empty() && out.hops.front().ifindex == ifindex;
    return ifindex == 0 || is_its_device ? match.type : RouteType::unicast;
  }

  if (ifindex != 0) {
    for (const InterfaceAddress& own : addresses(ifindex))
      if (own.family == family && own.local == address) return RouteType::local;
  }
  const Route route = lookup({.family = family, .dst = address, .oif = ifindex});
  switch (route.type) {
    case RouteType::unspecified:
      return RouteType::unreachable;
    case RouteType::local:
      return ifindex == 0 ? RouteType::local : RouteType::unicast;
    case RouteType::unicast:
      return address.bytes[0] == 0xff ? RouteType::multicast : RouteType::unicast;
    default:
      return route.type;
  }
}

}  // namespace weir::routing
