#pragma once

#include "packet/packet.h"
#include "wire/address.h"

namespace weir::rules {

/// Source and destination of an IPv4 or IPv6 packet, and its type of service.
struct IpEnds {
  wire::Address src;
  wire::Address dst;
  std::uint8_t tos = 0;
};

/// Requires: the packet's family is known, so its fixed header has been checked.
inline IpEnds ip_ends(const packet::Packet& packet) {
  const Bytes header = packet.l3();
  if (packet.family == wire::Family::ip) {
    return {.src = wire::Address::from(header.subspan(12, 4)),
            .dst = wire::Address::from(header.subspan(16, 4)),
            .tos = header[1]};
  }
  return {.src = wire::Address::from(header.subspan(8, 16)),
          .dst = wire::Address::from(header.subspan(24, 16)),
          .tos = static_cast<std::uint8_t>(header[0] << 4 | header[1] >> 4)};
}

}  // namespace weir::rules
