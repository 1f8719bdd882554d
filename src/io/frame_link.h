#pragma once

#include "packet/packet.h"
#include "wire/ethernet.h"

namespace weir::io {

/// Host, broadcast or multicast by the destination MAC alone: whose the MAC is isn't known here.
inline packet::LinkType link_type_of(const packet::Packet& packet) {
  if (packet.length < sizeof(wire::Ethernet)) return packet::LinkType::host;
  const wire::MacAddress dst = wire::at<wire::Ethernet>(packet.frame()).dst();
  if (dst == wire::kBroadcastMac) return packet::LinkType::broadcast;
  return wire::is_group(dst) ? packet::LinkType::multicast : packet::LinkType::host;
}

}  // namespace weir::io
