#include "rules/expr/header_base.h"

#include <netinet/in.h>

#include "wire/tcp.h"
#include "wire/udp.h"

namespace weir::rules {
namespace {

/// GRE version 0 (RFC 2784, 2890): the flags say which optional words follow the first.
std::optional<std::uint32_t> gre_bytes(const packet::Packet& packet) {
  constexpr std::uint16_t kChecksum = 0x8000;
  constexpr std::uint16_t kKey = 0x2000;
  constexpr std::uint16_t kSequence = 0x1000;
  constexpr std::uint16_t kVersion = 0x0007;
  const Bytes header = packet.l4();
  if (header.size() < 4) return std::nullopt;
  const std::uint16_t flags = load<Be16>(header.data()).host();
  if ((flags & kVersion) != 0) return std::nullopt;
  std::uint32_t bytes = 4;
  for (const std::uint16_t flag : {kChecksum, kKey, kSequence}) {
    if (flags & flag) bytes += 4;
  }
  return bytes;
}

}  // namespace

std::optional<std::uint32_t> inner_offset(const packet::Packet& packet) {
  if (!has_transport(packet)) return std::nullopt;
  switch (packet.l4_protocol) {
    case IPPROTO_UDP:
      return packet.l4_offset + 8;
    case IPPROTO_TCP: {
      const Bytes segment = packet.l4();
      if (segment.size() < sizeof(wire::Tcp)) return std::nullopt;
      return packet.l4_offset + (segment[12] >> 4) * 4;
    }
    case IPPROTO_GRE: {
      const auto bytes = gre_bytes(packet);
      if (!bytes) return std::nullopt;
      return packet.l4_offset + *bytes;
    }
    case IPPROTO_IPIP:
      return packet.l4_offset;
    default:
      return std::nullopt;
  }
}

}  // namespace weir::rules
