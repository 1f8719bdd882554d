#pragma once

#include <cstdint>
#include <optional>

#include "packet/packet.h"

namespace weir::rules {

/// Where the bytes that expressions may read end: the datagram's end (padding is none of it), or
/// the frame's when it is no IP packet. Counted from the frame's first byte.
inline std::uint32_t readable_end(const packet::Packet& packet) {
  return packet.family == wire::Family::none ? packet.length
                                             : std::uint32_t{packet.l3_offset} + packet.ip_length;
}

/// Whether the packet has a transport header (the kernel's NFT_PKTINFO_L4PROTO and no fragment
/// offset).
inline bool has_transport(const packet::Packet& packet) {
  return packet.family != wire::Family::none && !packet.is_later_fragment && packet.l4_offset != 0;
}

/// Where the transport header's payload begins (nft_payload_inner_offset), for the protocols that
/// are known to have one.
std::optional<std::uint32_t> inner_offset(const packet::Packet& packet);

}  // namespace weir::rules
