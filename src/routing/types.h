#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "base/endian.h"
#include "wire/address.h"

/// The nouns of routing, without netlink: they can be filled by hand (replay, tests, bench) as well
/// as by the mirror of a kernel. Numbers that the kernel defines keep its values.
namespace weir::routing {

inline constexpr std::uint32_t kTableDefault = 253;
inline constexpr std::uint32_t kTableMain = 254;
inline constexpr std::uint32_t kTableLocal = 255;

inline constexpr std::uint8_t kScopeUniverse = 0;
inline constexpr std::uint8_t kScopeLink = 253;
inline constexpr std::uint8_t kScopeHost = 254;
inline constexpr std::uint8_t kScopeNowhere = 255;

/// RTN_*: what a route does with a packet. `unspecified` is the answer of a look-up that found
/// nothing.
enum class RouteType : std::uint8_t {
  unspecified = 0,
  unicast = 1,
  local = 2,
  broadcast = 3,
  anycast = 4,
  multicast = 5,
  blackhole = 6,
  unreachable = 7,
  prohibit = 8,
  throw_on = 9,  // Only inside tables: leaves the table and goes on with the next rule.
};

using Mac = std::array<std::uint8_t, 6>;

/// An interface's name as rules compare it: 16 bytes (IFNAMSIZ), padded with zeroes.
using PaddedName = std::array<std::uint8_t, 16>;
inline PaddedName padded(std::string_view name) {
  PaddedName padded{};
  std::memcpy(padded.data(), name.data(), std::min(name.size(), padded.size() - 1));
  return padded;
}

/// A network device of the kernel.
struct Link {
  std::uint32_t ifindex = 0;
  std::string name{};
  std::string kind{};      // "vlan", "veth", "bridge"; empty for hardware.
  std::uint16_t type = 0;  // ARPHRD_*.
  std::uint32_t group = 0;
  std::uint32_t flags = 0;  // IFF_*.
  std::uint32_t mtu = 0;
  std::uint32_t master = 0;  // ifindex of its bridge or bond, or zero.
  std::uint32_t parent = 0;  // IFLA_LINK: the device below a VLAN, or zero.
  std::uint16_t vlan_id = 0;
  Mac mac{};
  Mac broadcast_mac{};
  bool has_mac = false;

  bool is_up() const;        // IFF_UP: routes through it are alive.
  bool has_carrier() const;  // IFF_LOWER_UP; without it the kernel calls a nexthop linkdown.
  bool is_loopback() const;
  bool operator==(const Link&) const = default;
};

/// Settings of one interface that decide what it accepts; the kernel's `forwarding` isn't among
/// them: what comes in by weir's ports is weir's to forward. Already combined with conf/all as the
/// kernel combines them (rp_filter: the larger; accept_local, route_localnet: either).
struct InterfaceSettings {
  std::uint8_t rp_filter = 0;  // 0 off, 1 strict, 2 loose (RFC 3704).
  bool accept_local = false;
  bool route_localnet = false;
  bool src_valid_mark = false;
  bool ignore_linkdown_ip = false;
  bool ignore_linkdown_ip6 = false;
  bool operator==(const InterfaceSettings&) const = default;
};

/// Settings of the whole network namespace.
struct GlobalSettings {
  std::uint8_t multipath_hash_policy_ip = 0;  // 0 addresses, 1 addresses and ports.
  std::uint8_t multipath_hash_policy_ip6 = 0;
  bool operator==(const GlobalSettings&) const = default;
};

/// An address that an interface has.
struct InterfaceAddress {
  std::uint32_t ifindex = 0;
  wire::Family family = wire::Family::none;
  wire::Address local{};      // Ours.
  wire::Address peer{};       // IFA_ADDRESS: the prefix's address; differs on point-to-point links.
  wire::Address broadcast{};  // IPv4; zero when there is none.
  std::uint8_t prefix_length = 0;
  std::uint8_t scope = 0;   // RT_SCOPE_*.
  std::uint32_t flags = 0;  // IFA_F_*: secondary, deprecated, tentative.
  bool operator==(const InterfaceAddress&) const = default;
};

/// One way out. `gateway_family` none means that the destination itself is on the link.
struct NextHop {
  std::uint32_t ifindex = 0;
  wire::Address gateway{};
  wire::Family gateway_family = wire::Family::none;
  std::uint16_t weight = 1;  // 1..256.
  bool is_onlink = false;
  bool is_dead = false;  // As the kernel said; look-ups also ask whether the link is up.
  bool is_linkdown = false;
  bool operator==(const NextHop&) const = default;
};

/// A nexthop object (RTM_NEWNEXTHOP) with a group already resolved into its members.
struct NextHopObject {
  std::uint32_t id = 0;
  bool is_blackhole = false;
  std::vector<NextHop> next_hops{};
  /// A group's members by id and weight; the ways out are then the members'.
  struct Member {
    std::uint32_t id = 0;
    std::uint16_t weight = 1;
    bool operator==(const Member&) const = default;
  };
  std::vector<Member> group{};
  bool operator==(const NextHopObject&) const = default;
};

/// One route of a table.
struct RouteEntry {
  std::uint32_t table = kTableMain;
  wire::Prefix destination{};
  RouteType type = RouteType::unicast;
  std::uint8_t tos = 0;
  std::uint8_t scope = 0;
  std::uint8_t protocol = 0;   // RTPROT_*.
  std::uint32_t priority = 0;  // The metric: lower wins.
  std::uint32_t mtu = 0;       // RTAX_MTU, zero when not set.
  bool is_mtu_locked = false;
  wire::Address prefsrc{};        // Zero when not set.
  std::uint32_t next_hop_id = 0;  // A nexthop object that overrides `next_hops`.
  std::vector<NextHop> next_hops{};
  bool operator==(const RouteEntry&) const = default;
};

enum class RuleAction : std::uint8_t {
  to_table = 1,
  go_to = 2,
  nop = 3,
  blackhole = 6,
  unreachable = 7,
  prohibit = 8,
};

/// A rule of the policy database (ip rule).
struct PolicyRule {
  wire::Family family = wire::Family::none;
  std::uint32_t priority = 0;
  RuleAction action = RuleAction::to_table;
  bool is_inverted = false;
  std::uint32_t table = 0;
  std::uint32_t go_to_priority = 0;
  wire::Prefix from{};  // Length zero matches all.
  wire::Prefix to{};
  std::string iif{};  // Empty matches all; "lo" means "from this host".
  std::string oif{};
  std::uint32_t mark = 0;
  std::uint32_t mark_mask = 0;
  std::uint8_t tos = 0;
  std::uint8_t protocol = 0;                          // Transport protocol, zero matches all.
  std::uint16_t src_port_low = 0, src_port_high = 0;  // Host order; high zero matches all.
  std::uint16_t dst_port_low = 0, dst_port_high = 0;
  std::int32_t suppress_prefix_length = -1;
  std::int32_t suppress_group = -1;
  /// Needs what weir doesn't have (l3mdev, tunnel ids, a user): never matches.
  bool is_unsupported = false;
  bool operator==(const PolicyRule&) const = default;
};

/// What a route is looked up by. `iif` is the interface that the packet came in by; zero means that
/// this host sends it, which rules see as "lo". `oif` binds the look-up to an interface (zero:
/// none).
struct FlowKey {
  wire::Family family = wire::Family::none;
  std::uint8_t tos = 0;
  std::uint8_t protocol = 0;
  wire::Address dst{};
  wire::Address src{};
  std::uint32_t iif = 0;
  std::uint32_t oif = 0;
  std::uint32_t mark = 0;
  Be16 src_port{};  // For rules by port and layer-4 multipath.
  Be16 dst_port{};
};

/// The answer of a look-up.
struct Route {
  RouteType type = RouteType::unspecified;
  bool has_gateway = false;
  std::uint8_t prefix_length = 0;
  std::uint8_t scope = 0;
  wire::Family next_hop_family = wire::Family::none;
  std::uint32_t out_ifindex = 0;
  std::uint32_t mtu = 0;  // The route's, else the interface's.
  std::uint32_t table = 0;
  std::uint32_t priority = 0;
  wire::Address next_hop{};  // The gateway, else the destination: whom to resolve.
  wire::Address prefsrc{};   // The route's preferred source; zero when it names none.

  bool is_found() const { return type != RouteType::unspecified; }
};

}  // namespace weir::routing
