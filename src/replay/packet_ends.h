#pragma once

#include "packet/packet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace weir::replay {

/// The addresses of a packet whose headers have been checked.
inline wire::Address source_of(const packet::Packet& packet) {
  const std::uint8_t* const l3 = packet.l3().data();
  return packet.family == wire::Family::ip ? wire::at<wire::Ipv4>(l3).src_address()
                                           : wire::at<wire::Ipv6>(l3).src_address();
}
inline wire::Address destination_of(const packet::Packet& packet) {
  const std::uint8_t* const l3 = packet.l3().data();
  return packet.family == wire::Family::ip ? wire::at<wire::Ipv4>(l3).dst_address()
                                           : wire::at<wire::Ipv6>(l3).dst_address();
}

}  // namespace weir::replay
