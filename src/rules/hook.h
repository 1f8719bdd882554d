#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "wire/address.h"

namespace weir::rules {

/// The family of a table. The values are NFPROTO_* of <linux/netfilter.h>, which is what netlink
/// carries in nfgenmsg.
enum class Family : std::uint8_t {
  unspec = 0,
  inet = 1,
  ip = 2,
  arp = 3,
  netdev = 5,
  bridge = 7,
  ip6 = 10
};

/// The hook at which packets meet chains. Values and order of enum nf_inet_hooks; `ingress` is both
/// netdev's only hook and inet's sixth.
enum class Hook : std::uint8_t {
  prerouting = 0,
  input = 1,
  forward = 2,
  output = 3,
  postrouting = 4,
  ingress = 5,
};
inline constexpr std::size_t kHookCount = 6;

constexpr std::uint32_t hook_bit(Hook hook) { return 1u << static_cast<unsigned>(hook); }

/// The type of a base chain: what it may be used for, and how its verdict is taken.
enum class ChainType : std::uint8_t {
  filter,
  nat,    // Sees only the first packet of a connection; run by the NAT stage (run_nat_chains).
  route,  // At output: the packet is routed again when its mark or addresses have changed.
};

std::string_view name_of(Family family);
std::string_view name_of(Hook hook);
std::string_view name_of(ChainType type);
std::optional<ChainType> chain_type_named(std::string_view name);

constexpr Family family_of(wire::Family family) {
  return family == wire::Family::ip ? Family::ip : Family::ip6;
}

/// Where netfilter's own stages stand (enum nf_ip_hook_priorities); chains may register at any
/// number.
namespace priority {
inline constexpr std::int32_t kFirst = INT32_MIN;
inline constexpr std::int32_t kDefrag = -400;
inline constexpr std::int32_t kRaw = -300;
inline constexpr std::int32_t kConntrack = -200;
inline constexpr std::int32_t kMangle = -150;
inline constexpr std::int32_t kNatDst = -100;
inline constexpr std::int32_t kFilter = 0;
inline constexpr std::int32_t kSecurity = 50;
inline constexpr std::int32_t kNatSrc = 100;
inline constexpr std::int32_t kConntrackHelper = 300;
inline constexpr std::int32_t kLast = INT32_MAX;
}  // namespace priority

}  // namespace weir::rules
