#pragma once

#include <cstdint>

#include "base/endian.h"
#include "wire/address.h"

namespace weir::conntrack {

/// One direction of a connection, independent of layer 3: what the table is indexed by. Exactly 40 bytes
/// without padding, so it hashes and compares as bytes.
///
/// `src_port` and `dst_port` carry what the transport identifies flows by: ports (TCP, UDP, UDPLite,
/// SCTP, DCCP), or for ICMP and ICMPv6 queries the id in `src_port` and type << 8 | code in `dst_port`
/// (network order, as the kernel's union nf_conntrack_man_proto), or GRE's key.
struct Tuple {
  wire::Address src;
  wire::Address dst;
  Be16 src_port;
  Be16 dst_port;
  wire::Family family = wire::Family::none;
  std::uint8_t protocol = 0;
  std::uint16_t zone = 0;

  bool operator==(const Tuple&) const = default;
};
static_assert(sizeof(Tuple) == 40);

enum class Direction : std::uint8_t { original = 0, reply = 1 };

constexpr Direction opposite(Direction d) {
  return d == Direction::original ? Direction::reply : Direction::original;
}

}  // namespace weir::conntrack
