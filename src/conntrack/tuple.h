#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <type_traits>

#include "base/endian.h"
#include "wire/address.h"

namespace weir::conntrack {

/// One direction of a connection, independent of layer 3: what the table is indexed by. Exactly 40
/// bytes without padding, so it hashes and compares as bytes.
///
/// `src_port` and `dst_port` carry what the transport identifies flows by: ports (TCP, UDP,
/// UDPLite, SCTP, DCCP), or for ICMP and ICMPv6 queries the id in `src_port` and type << 8 | code
/// in `dst_port` (network order, as the kernel's union nf_conntrack_man_proto), or GRE's key.
struct Tuple {
  wire::Address src;
  wire::Address dst;
  Be16 src_port;
  Be16 dst_port;
  wire::Family family = wire::Family::none;
  std::uint8_t protocol = 0;
  std::uint16_t zone = 0;

  /// As five words: look-ups spend their time here.
  constexpr bool operator==(const Tuple& other) const {
    const auto a = std::bit_cast<std::array<std::uint64_t, 5>>(*this);
    const auto b = std::bit_cast<std::array<std::uint64_t, 5>>(other);
    return ((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]) | (a[4] ^ b[4])) == 0;
  }
};
static_assert(sizeof(Tuple) == 40 && std::has_unique_object_representations_v<Tuple>);

enum class Direction : std::uint8_t { original = 0, reply = 1 };

constexpr Direction opposite(Direction d) {
  return d == Direction::original ? Direction::reply : Direction::original;
}

}  // namespace weir::conntrack
