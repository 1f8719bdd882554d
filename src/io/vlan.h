#pragma once

#include "packet/packet.h"

namespace weir::io {

/// Room that a receiver leaves behind a frame for tags that are put back.
inline constexpr std::uint32_t kVlanRoomBytes = 8;

/// Puts the packet's tags, which ports and the header check keep beside the frame, back behind the
/// MAC addresses, as they must lie when the frame is sent. Moves csum_start with them.
void restore_vlan(packet::Packet& packet);

}  // namespace weir::io
