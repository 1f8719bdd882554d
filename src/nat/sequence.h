#pragma once

#include <array>

#include "conntrack/sequence_adjustment.h"
#include "packet/packet.h"

namespace weir::nat {

/// Gives a TCP packet the numbers that its receiver expects after payloads of its connection have
/// been rewritten: its sequence number by what was done to packets of its own direction, what it
/// acknowledges (ACK and SACK blocks, RFC 2018) by what was done to the opposite one. The checksum
/// is kept right; an unfinished one doesn't cover these. `by_direction` is indexed by the rewritten
/// packets' direction.
///
/// False, with nothing changed, when it has no whole TCP header.
bool adjust_sequence(packet::Packet& packet,
                     const std::array<conntrack::SequenceAdjustment, 2>& by_direction);

}  // namespace weir::nat
