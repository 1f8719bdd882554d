#pragma once

#include <cstddef>

#include "base/bytes.h"
#include "packet/packet.h"

namespace weir::nat {

/// The payload behind a TCP or UDP header; empty when there is none, or no such header.
MutableBytes payload_of(packet::Packet& packet);

/// Puts `text` in place of `length` bytes of the payload from `offset` on, and everything that
/// follows from it right: lengths of IP and UDP, checksums (an unfinished one stays unfinished, a
/// UDP checksum of none stays none). The packet grows into its tailroom, or else its headroom. A
/// TCP packet that has outgrown its way's MTU becomes one that is segmented on its way out
/// (packet::Gso), so that no fragment is needed.
///
/// False, with nothing changed, when the place isn't in the payload, or when the datagram would
/// become longer than IP allows or than the buffer has room for. Requires: checked headers.
bool replace(packet::Packet& packet, std::size_t offset, std::size_t length, Bytes text);

}  // namespace weir::nat
