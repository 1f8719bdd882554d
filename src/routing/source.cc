// Which of its addresses the host uses: inet_select_addr for IPv4, RFC 6724 section 5 for IPv6.

#include <linux/if_addr.h>

#include <algorithm>
#include <bit>

#include "routing/view.h"

namespace weir::routing {

using wire::Family;

namespace {

bool is_link_local(const wire::Address& a) {
  return a.bytes[0] == 0xfe && (a.bytes[1] & 0xc0) == 0x80;
}
bool is_multicast(const wire::Address& a) { return a.bytes[0] == 0xff; }

/// RFC 4291's scopes: 2 link, 5 site, 14 global.
int scope_of(const wire::Address& a) {
  if (is_multicast(a)) return a.bytes[1] & 0x0f;
  if (is_link_local(a)) return 2;
  if (a.bytes[0] == 0xfe && (a.bytes[1] & 0xc0) == 0xc0) return 5;
  wire::Address loopback;
  loopback.bytes[15] = 1;
  return a == loopback ? 2 : 14;
}

unsigned common_bits(const wire::Address& a, const wire::Address& b) {
  for (unsigned i = 0; i < 16; ++i) {
    const auto difference = static_cast<std::uint8_t>(a.bytes[i] ^ b.bytes[i]);
    if (difference != 0) return i * 8 + static_cast<unsigned>(std::countl_zero(difference));
  }
  return 128;
}

/// The default policy table of RFC 6724 section 2.1, with the kernel's label for Teredo's
/// neighbours.
int label_of(const wire::Address& a) {
  static const struct {
    wire::Prefix prefix;
    int label;
  } kTable[] = {
      {*wire::parse_prefix("::1/128"), 0},      {*wire::parse_prefix("::ffff:0:0/96"), 4},
      {*wire::parse_prefix("::/96"), 3},        {*wire::parse_prefix("2001::/32"), 6},
      {*wire::parse_prefix("2001:10::/28"), 7}, {*wire::parse_prefix("3ffe::/16"), 12},
      {*wire::parse_prefix("2002::/16"), 2},    {*wire::parse_prefix("fec0::/10"), 11},
      {*wire::parse_prefix("fc00::/7"), 5},
  };
  for (const auto& row : kTable)
    if (row.prefix.contains(Family::ip6, a)) return row.label;
  return 1;
}

bool is_candidate(const InterfaceAddress& own) {
  const bool is_unready =
      (own.flags & IFA_F_DADFAILED) != 0 ||
      ((own.flags & IFA_F_TENTATIVE) != 0 && (own.flags & IFA_F_OPTIMISTIC) == 0);
  wire::Address loopback;
  loopback.bytes[15] = 1;
  return own.family == Family::ip6 && !is_unready && own.local != loopback;
}

/// Whether `a` is the better source for `dst` through `ifindex`: the rules in their order.
bool is_better(const InterfaceAddress& a, const InterfaceAddress& b, const wire::Address& dst,
               std::uint32_t ifindex) {
  if ((a.local == dst) != (b.local == dst)) return a.local == dst;
  const int scope_a = scope_of(a.local), scope_b = scope_of(b.local), scope_dst = scope_of(dst);
  if (scope_a < scope_b) return scope_a >= scope_dst;
  if (scope_b < scope_a) return scope_b < scope_dst;
  const bool old_a = (a.flags & IFA_F_DEPRECATED) != 0, old_b = (b.flags & IFA_F_DEPRECATED) != 0;
  if (old_a != old_b) return old_b;
  if ((a.ifindex == ifindex) != (b.ifindex == ifindex)) return a.ifindex == ifindex;
  const int label = label_of(dst);
  const bool fits_a = label_of(a.local) == label, fits_b = label_of(b.local) == label;
  if (fits_a != fits_b) return fits_a;
  const bool temporary_a = (a.flags & IFA_F_TEMPORARY) != 0;
  const bool temporary_b = (b.flags & IFA_F_TEMPORARY) != 0;
  if (temporary_a != temporary_b) return temporary_b;
  const unsigned bits_a = std::min<unsigned>(common_bits(a.local, dst), a.prefix_length);
  const unsigned bits_b = std::min<unsigned>(common_bits(b.local, dst), b.prefix_length);
  return bits_a > bits_b;
}

}  // namespace

wire::Address View::source_for(Family family, const wire::Address& dst, const Route& route) const {
  if (!route.prefsrc.is_zero()) return route.prefsrc;
  if (route.type == RouteType::local) return dst;
  if (family == Family::ip6) return source_ip6(dst, route.out_ifindex);
  const bool has_ip_gateway = route.has_gateway && route.next_hop_family == Family::ip;
  return source_ip(has_ip_gateway ? route.next_hop : wire::Address{}, route.out_ifindex,
                   route.scope);
}

wire::Address View::icmp_source(const FlowKey& key, Route& back) const {
  const bool is_link_bound = key.family == Family::ip6 && is_link_local(key.src);
  back = lookup({.family = key.family,
                 .tos = key.tos,
                 .dst = key.src,
                 .src = is_local(key.family, key.dst) ? key.dst : wire::Address{},
                 .oif = is_link_bound ? key.iif : 0});
  if (is_local(key.family, key.dst)) return key.dst;
  return back.is_found() ? source_for(key.family, key.src, back) : wire::Address{};
}

wire::Address View::interface_address(std::uint32_t ifindex, Family family,
                                      const wire::Address& dst) const {
  return family == Family::ip ? source_ip(dst, ifindex, kScopeUniverse) : source_ip6(dst, ifindex);
}

/// The first primary address of the interface, one whose subnet holds `dst` before others; when it
/// has none of the scope, another interface's.
wire::Address View::source_ip(const wire::Address& dst, std::uint32_t ifindex,
                              std::uint8_t scope) const {
  const std::uint8_t limit = settings(ifindex).route_localnet ? kScopeLink : kScopeHost;
  const InterfaceAddress* first = nullptr;
  for (const InterfaceAddress& own : addresses(ifindex)) {
    if (own.family != Family::ip || (own.flags & IFA_F_SECONDARY) != 0) continue;
    if (std::min(own.scope, limit) > scope) continue;
    const bool is_neighbour = !dst.is_zero() && common_bits(dst, own.peer) >= own.prefix_length;
    if (dst.is_zero() || is_neighbour) return own.local;
    if (first == nullptr) first = &own;
  }
  if (first != nullptr) return first->local;
  for (const InterfaceAddress& own : addresses_) {
    if (own.family != Family::ip || (own.flags & IFA_F_SECONDARY) != 0) continue;
    if (own.scope != kScopeLink && own.scope <= scope) return own.local;
  }
  return {};
}

wire::Address View::source_ip6(const wire::Address& dst, std::uint32_t ifindex) const {
  const bool is_one_link = ifindex != 0 && (is_multicast(dst) || is_link_local(dst));
  const std::span<const InterfaceAddress> candidates =
      is_one_link ? addresses(ifindex) : std::span<const InterfaceAddress>(addresses_);
  const InterfaceAddress* best = nullptr;
  for (const InterfaceAddress& own : candidates) {
    if (!is_candidate(own)) continue;
    if (best == nullptr || is_better(own, *best, dst, ifindex)) best = &own;
  }
  return best == nullptr ? wire::Address{} : best->local;
}

}  // namespace weir::routing
