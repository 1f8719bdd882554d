#pragma once

#include "conntrack/tuple.h"
#include "nat/range.h"
#include "packet/packet.h"

namespace weir::nat {

/// Gives the packet the source (Manip::src) or destination (Manip::dst) of `target`, address and
/// port or ICMP id, wherever they differ, and keeps the checksums of IP header and transport right,
/// incrementally (RFC 1624), also unfinished ones (packet::Checksum::partial). A UDP checksum of
/// zero, i.e. none, stays zero. Requires: checked headers, target.family == packet.family. Reads no
/// state.
///
/// False, with nothing written, when the packet has no such header in reach (a later fragment
/// changes its addresses only).
bool rewrite(packet::Packet& packet, Manip manip, const conntrack::Tuple& target);

/// Translates an ICMP error about a connection: `outer` gives the packet's own source or
/// destination address as in rewrite(), and the quoted packet, which travelled the other way, gets
/// the opposite side of `inner`: Manip::src writes the inner destination. All checksums on the way
/// are kept right: the quoted IP header's, the quoted transport's where its field was quoted, and
/// the error's own over both. False when the quote is too short to hold what is to be changed;
/// nothing is written then.
bool rewrite_error(packet::Packet& packet, Manip manip, const conntrack::Tuple& outer,
                   const conntrack::Tuple& inner);

}  // namespace weir::nat
