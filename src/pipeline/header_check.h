#pragma once

#include <cstdint>

#include "packet/packet.h"

namespace weir::pipeline {

enum class HeaderVerdict : std::uint8_t {
  ok,  // IPv4 or IPv6, its headers checked: all of the packet's "header check" group is filled in.
  to_host,  // Not IP (ARP, LLDP, an unknown ethertype...): the host's business.
  drop,     // Malformed or not for us; Packet::drop says why.
};

/// From a frame's bytes to the offsets that every later stage relies on. Refuses exactly what the
/// kernel's ip_rcv_core and ip6_rcv_core refuse before any hook sees the packet: other hosts'
/// frames, wrong version or lengths, a wrong IPv4 header checksum, IPv6 loopback, multicast or
/// IPv4-mapped addresses where they can't be, bad hop-by-hop options. Transport headers are not
/// looked at (`l4()` may be empty).
///
/// VLAN tags found in the frame move to Packet::vlan. `l4_protocol` of an IPv6 packet whose
/// extension headers run past its end is the last that was seen, with l4_offset at the datagram's
/// end.
HeaderVerdict check_headers(packet::Packet& packet);

}  // namespace weir::pipeline
