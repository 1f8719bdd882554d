#include "replay/network.h"

#include <linux/if.h>
#include <linux/if_arp.h>

#include <string_view>
#include <utility>

namespace weir::replay {
namespace {

using wire::Family;

constexpr std::string_view kInsideByNature[] = {"10.0.0.0/8",    "172.16.0.0/12",  "192.168.0.0/16",
                                                "100.64.0.0/10", "169.254.0.0/16", "fc00::/7",
                                                "fe80::/10"};
constexpr std::string_view kInsideAddresses[] = {"192.0.2.129", "2001:db8:fffe::1"};
constexpr std::string_view kOutsideAddresses[] = {"192.0.2.1", "2001:db8:ffff::1"};

std::uint8_t full_length(Family family) {
  return static_cast<std::uint8_t>(8 * wire::address_bytes(family));
}

/// The addresses that were asked for; families that they leave out get the default.
std::vector<wire::FamilyAddress> with_defaults(std::vector<wire::FamilyAddress> given,
                                               std::span<const std::string_view> defaults) {
  bool has_ip = false, has_ip6 = false;
  for (const wire::FamilyAddress& each : given)
    (each.family == Family::ip ? has_ip : has_ip6) = true;
  for (const std::string_view text : defaults) {
    const auto address = wire::parse_address(text);
    if (!(address->family == Family::ip ? has_ip : has_ip6)) given.push_back(*address);
  }
  return given;
}

void add_link(routing::Database& routing, Side side, const std::string& device,
              std::uint32_t mtu_bytes) {
  const std::uint32_t ifindex = ifindex_of(side);
  routing.set(routing::Link{.ifindex = ifindex,
                            .name = device,
                            .type = ARPHRD_ETHER,
                            .flags = IFF_UP | IFF_RUNNING | IFF_LOWER_UP | IFF_NOARP,
                            .mtu = mtu_bytes,
                            .mac = {2, 0, 0, 0, 0, static_cast<std::uint8_t>(ifindex)},
                            .broadcast_mac = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
                            .has_mac = true});
}

void add_address(routing::Database& routing, Side side, const wire::FamilyAddress& own) {
  const std::uint32_t ifindex = ifindex_of(side);
  routing.set(routing::InterfaceAddress{.ifindex = ifindex,
                                        .family = own.family,
                                        .local = own.address,
                                        .peer = own.address,
                                        .prefix_length = full_length(own.family),
                                        .scope = routing::kScopeUniverse});
  routing.add({.table = routing::kTableLocal,
               .destination = {own.family, own.address, full_length(own.family)},
               .type = routing::RouteType::local,
               .scope = routing::kScopeHost,
               .prefsrc = own.address,
               .next_hops = {{.ifindex = ifindex}}});
}

void add_route(routing::Database& routing, Side side, const wire::Prefix& destination) {
  routing.add({.destination = destination,
               .scope = routing::kScopeLink,
               .next_hops = {{.ifindex = ifindex_of(side)}}});
}

}  // namespace

Sides::Sides(std::vector<wire::Prefix> inside) : inside_(std::move(inside)) {
  if (!inside_.empty()) return;
  for (const std::string_view text : kInsideByNature) inside_.push_back(*wire::parse_prefix(text));
}

Side Sides::of(Family family, const wire::Address& address) const {
  for (const wire::Prefix& prefix : inside_) {
    if (prefix.contains(family, address)) return Side::inside;
  }
  return Side::outside;
}

void build_network(const Options& options, const Sides& sides, routing::Database& routing) {
  routing.add_default_rules();
  add_link(routing, Side::inside, options.inside_device, options.mtu_bytes);
  add_link(routing, Side::outside, options.outside_device, options.mtu_bytes);
  for (const auto& own : with_defaults(options.inside_addresses, kInsideAddresses))
    add_address(routing, Side::inside, own);
  for (const auto& own : with_defaults(options.outside_addresses, kOutsideAddresses))
    add_address(routing, Side::outside, own);
  for (const wire::Prefix& prefix : sides.inside()) add_route(routing, Side::inside, prefix);
  add_route(routing, Side::outside, {.family = Family::ip, .address = {}});
  add_route(routing, Side::outside, {.family = Family::ip6, .address = {}});
  routing.publish();
}

}  // namespace weir::replay
