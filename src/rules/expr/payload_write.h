#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "packet/packet.h"

namespace weir::rules {

/// A place in the packet: NFT_PAYLOAD_*_HEADER, and bytes from there.
struct PayloadField {
  std::uint8_t base = 0;
  std::uint8_t length = 0;
  std::uint32_t offset = 0;
};

/// Which checksums a write updates: NFT_PAYLOAD_CSUM_* at `offset` of the same header, and with
/// NFT_PAYLOAD_L4CSUM_PSEUDOHDR the transport's, because the field is part of its pseudo-header.
struct PayloadChecksum {
  std::uint32_t type = 0;
  std::uint32_t offset = 0;
  std::uint32_t flags = 0;
};

/// Where a header begins in the frame; nothing when the packet has none.
std::optional<std::uint32_t> base_offset(const packet::Packet& packet, std::uint8_t base);

/// Writes into the packet and keeps its checksums right, finished or partial ones
/// (nft_payload_set_eval). False when the packet has no such field; then nothing is changed.
bool write_payload(packet::Packet& packet, const PayloadField& field,
                   const PayloadChecksum& checksum, Bytes value);

}  // namespace weir::rules
