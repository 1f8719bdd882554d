#pragma once

#include <cstdint>

#include "packet/packet.h"
#include "pipeline/header_check.h"

namespace weir::replay {

/// What was made good in a captured packet.
struct Prepared {
  pipeline::HeaderVerdict verdict = pipeline::HeaderVerdict::ok;
  bool ip_was_repaired = false;         // IPv4 header checksum, or a total length of zero.
  bool transport_was_repaired = false;  // Transport checksum.
  bool is_offloaded = false;  // One large segment that the sender's device would have cut.
};

/// Checks the packet's headers, as the path will again, and undoes what a capture on the sending
/// host shows of that host's offloads: packets that its device was still to finish. No attack looks
/// like that, and conntrack would take all of them for corrupt:
/// - an IPv4 header checksum of zero that is wrong, and with TCP a total length of zero
/// (segmentation offload);
/// - a transport checksum of zero (not UDP's, which means none) or of the pseudo-header alone, with
/// or without its
///   length: it becomes an unfinished checksum (packet::Checksum::partial), which NAT keeps right
///   and the port finishes;
/// - a TCP segment longer than the MTU: it becomes a GSO packet of MTU-sized segments.
/// Other wrong checksums stay wrong. With `strict` only the last is done.
Prepared prepare(packet::Packet& packet, bool strict, std::uint32_t mtu_bytes);

}  // namespace weir::replay
