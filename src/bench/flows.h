#pragma once

#include <cstdint>

#include "conntrack/tuple.h"
#include "packet/packet.h"
#include "wire/address.h"

namespace weir::bench {

/// The connections of a benchmark: `count` distinct tuples with varied addresses and ports, in an
/// order that no cache can guess. Flow numbers are 0 .. count - 1.
struct Flows {
  wire::Family family = wire::Family::ip;
  std::uint8_t protocol = 17;
  std::uint32_t count = 0;

  /// The tuple that the flow's original direction has on the wire.
  conntrack::Tuple original(std::uint32_t flow) const;
  /// The flow that comes `position`-th when all are visited once: a permutation.
  std::uint32_t at(std::uint32_t position) const;
};

/// What a packet of a flow looks like beside its tuple.
struct Look {
  std::uint8_t tcp_flags = 0x10;
  std::uint32_t sequence = 1;
  std::uint32_t acknowledgment = 1;
  std::uint32_t marker = 0;  // In the last four bytes: tells packets apart wherever they come out.
};

/// Writes the 60-byte frame (64 with its FCS; IPv6 somewhat longer) of a packet with this tuple
/// into an empty packet, all checksums right, as a port would have received it.
void write_frame(packet::Packet& packet, const conntrack::Tuple& tuple, const Look& look);

/// What write_frame() put there.
std::uint32_t marker_of(const packet::Packet& packet);

/// The tuple with its ends exchanged.
conntrack::Tuple turned(const conntrack::Tuple& tuple);

}  // namespace weir::bench
