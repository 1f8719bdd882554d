#include "io/vlan.h"

#include <cstring>

namespace weir::io {
namespace {

constexpr std::uint32_t kMacAddressesBytes = 12;
constexpr std::uint32_t kTagBytes = 4;

}  // namespace

void restore_vlan(packet::Packet& packet) {
  if (packet.vlan_count == 0) return;
  const std::uint32_t bytes = packet.vlan_count * kTagBytes;
  if (packet.headroom() < bytes) return;

  std::uint8_t* const old_frame = packet.frame();
  std::uint8_t* const frame = old_frame - bytes;
  std::memmove(frame, old_frame, kMacAddressesBytes);
  for (std::uint8_t i = 0; i < packet.vlan_count; ++i) {
    std::uint8_t* const at = frame + kMacAddressesBytes + i * kTagBytes;
    store(at, packet.vlan[i].protocol);
    store(at + 2, Be16::from_host(packet.vlan[i].tci));
  }
  packet.start -= bytes;
  packet.length += bytes;
  packet.csum_start = static_cast<std::uint16_t>(packet.csum_start + bytes);
  packet.l3_offset = static_cast<std::uint16_t>(packet.l3_offset + bytes);
  packet.l4_offset = static_cast<std::uint16_t>(packet.l4_offset + bytes);
  packet.vlan_count = 0;
}

}  // namespace weir::io
