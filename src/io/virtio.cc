#include "io/virtio.h"

namespace weir::io {
namespace {

constexpr std::uint8_t kNeedsChecksum = 1;  // VIRTIO_NET_HDR_F_NEEDS_CSUM and so on.
constexpr std::uint8_t kDataValid = 2;
constexpr std::uint8_t kGsoTcp4 = 1;
constexpr std::uint8_t kGsoTcp6 = 4;
constexpr std::uint8_t kGsoUdp = 5;
constexpr std::uint8_t kGsoEcn = 0x80;
constexpr std::uint16_t kUdpHeaderBytes = 8;
constexpr std::uint16_t kTcpOffsetAt = 12;

using Type = packet::Gso::Type;

Type read_type(std::uint8_t gso_type) {
  switch (gso_type & ~kGsoEcn) {
    case kGsoTcp4:
      return Type::tcp4;
    case kGsoTcp6:
      return Type::tcp6;
    case kGsoUdp:
      return Type::udp;
    default:
      return Type::none;
  }
}

std::uint8_t write_type(const packet::Gso& gso) {
  const std::uint8_t ecn = gso.has_ecn ? kGsoEcn : 0;
  switch (gso.type) {
    case Type::tcp4:
      return kGsoTcp4 | ecn;
    case Type::tcp6:
      return kGsoTcp6 | ecn;
    case Type::udp:
      return kGsoUdp;
    case Type::none:
      break;
  }
  return 0;
}

/// Bytes from the frame's start to the end of the transport header.
std::uint16_t header_bytes(const packet::Packet& packet) {
  if (packet.gso.type == Type::udp) return packet.csum_start + kUdpHeaderBytes;
  const std::uint8_t words = packet.frame()[packet.csum_start + kTcpOffsetAt] >> 4;
  return static_cast<std::uint16_t>(packet.csum_start + words * 4);
}

}  // namespace

void read_virtio(const VirtioHeader& header, packet::Packet& packet) {
  if ((header.flags & kNeedsChecksum) != 0) {
    packet.checksum = packet::Checksum::partial;
    packet.csum_start = header.csum_start;
    packet.csum_offset = header.csum_offset;
  } else if ((header.flags & kDataValid) != 0) {
    packet.checksum = packet::Checksum::verified;
  }
  packet.gso.type = read_type(header.gso_type);
  packet.gso.has_ecn = (header.gso_type & kGsoEcn) != 0;
  packet.gso.segment_bytes = packet.gso.type == Type::none ? 0 : header.gso_bytes;
}

VirtioHeader make_virtio(const packet::Packet& packet) {
  VirtioHeader header;
  if (packet.checksum == packet::Checksum::partial) {
    header.flags = kNeedsChecksum;
    header.csum_start = packet.csum_start;
    header.csum_offset = packet.csum_offset;
  }
  if (packet.gso.type != Type::none) {
    header.gso_type = write_type(packet.gso);
    header.gso_bytes = packet.gso.segment_bytes;
    header.header_bytes = header_bytes(packet);
  }
  return header;
}

}  // namespace weir::io
