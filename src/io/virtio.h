#pragma once

#include <cstdint>

#include "packet/packet.h"

namespace weir::io {

/// struct virtio_net_hdr of the virtio specification 5.1.6, in the host's byte order, as
/// AF_PACKET's PACKET_VNET_HDR and TAP's IFF_VNET_HDR carry it. (<linux/virtio_net.h> isn't C++.)
struct VirtioHeader {
  std::uint8_t flags = 0;
  std::uint8_t gso_type = 0;
  std::uint16_t header_bytes = 0;
  std::uint16_t gso_bytes = 0;
  std::uint16_t csum_start = 0;
  std::uint16_t csum_offset = 0;
};
static_assert(sizeof(VirtioHeader) == 10);

/// Fills in checksum state and GSO of a packet that came with this header; offsets count from the
/// frame's first byte on both sides.
void read_virtio(const VirtioHeader& header, packet::Packet& packet);

/// The header that asks a device to finish the packet's checksum and segmentation.
VirtioHeader make_virtio(const packet::Packet& packet);

}  // namespace weir::io
