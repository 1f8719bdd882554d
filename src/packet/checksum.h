#pragma once

#include "packet/packet.h"

namespace weir::packet {

/// Completes a partial checksum in software (Checksum::partial becomes verified), for ports whose
/// device can't; others are left as they are. False when csum_start or csum_offset lie outside the
/// packet, which is then left alone.
bool finish_checksum(Packet& packet);

/// Whether the transport checksum is right: TCP, UDP (zero means none, but not in IPv6), UDPLite,
/// DCCP, ICMP and ICMPv6. Computed once and remembered in Packet::checksum; verified and partial
/// ones need no look. Protocols without a checksum of this kind, and fragments, count as right; a
/// header that is cut off doesn't (nf_ip_checksum, nf_ip6_checksum).
bool verify_checksum(Packet& packet);

}  // namespace weir::packet
