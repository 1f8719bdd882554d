#pragma once

#include <array>
#include <cstdint>

#include "base/bytes.h"
#include "base/endian.h"
#include "wire/address.h"
#include "wire/view.h"

namespace weir::wire {

using MacAddress = std::array<std::uint8_t, 6>;

inline constexpr MacAddress kBroadcastMac = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/// The group bit of a MAC address: multicast or broadcast.
inline bool is_group(const MacAddress& mac) { return (mac[0] & 1) != 0; }

namespace ethertype {
inline constexpr Be16 kIpv4 = Be16::from_host(0x0800);
inline constexpr Be16 kArp = Be16::from_host(0x0806);
inline constexpr Be16 kVlan = Be16::from_host(0x8100);  // 802.1Q
inline constexpr Be16 kQinq = Be16::from_host(0x88a8);  // 802.1ad
inline constexpr Be16 kIpv6 = Be16::from_host(0x86dd);
}  // namespace ethertype

/// The ethertype of an IP family.
constexpr Be16 ethertype_of(Family family) {
  return family == Family::ip ? ethertype::kIpv4 : ethertype::kIpv6;
}

struct Ethernet {
  std::uint8_t raw[14];
  MacAddress dst() const { return load<MacAddress>(raw); }
  MacAddress src() const { return load<MacAddress>(raw + 6); }
  Be16 type() const { return load<Be16>(raw + 12); }
  void set_dst(const MacAddress& mac) { store(raw, mac); }
  void set_src(const MacAddress& mac) { store(raw + 6, mac); }
  void set_type(Be16 type) { store(raw + 12, type); }
};

/// What stands between an Ethernet header's addresses and its type: one 802.1Q or 802.1ad tag. As a
/// view, begin at the Ethernet header's type: protocol, tci; the inner type follows.
struct Vlan {
  std::uint8_t raw[4];
  Be16 protocol() const { return load<Be16>(raw); }
  std::uint16_t tci() const { return load<Be16>(raw + 2).host(); }
  void set_protocol(Be16 protocol) { store(raw, protocol); }
  void set_tci(std::uint16_t tci) { store(raw + 2, Be16::from_host(tci)); }
};

constexpr bool is_vlan(Be16 type) { return type == ethertype::kVlan || type == ethertype::kQinq; }

/// ARP for IPv4 over Ethernet (RFC 826): weir recognises it and leaves it to the host.
struct Arp {
  std::uint8_t raw[28];
  Be16 hardware() const { return load<Be16>(raw); }
  Be16 protocol() const { return load<Be16>(raw + 2); }
  std::uint16_t operation() const { return load<Be16>(raw + 6).host(); }  // 1 request, 2 reply.
  MacAddress sender_mac() const { return load<MacAddress>(raw + 8); }
  Be32 sender() const { return load<Be32>(raw + 14); }
  MacAddress target_mac() const { return load<MacAddress>(raw + 18); }
  Be32 target() const { return load<Be32>(raw + 24); }
};

}  // namespace weir::wire
