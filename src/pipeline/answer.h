#pragma once

#include <cstdint>

#include "packet/packet.h"
#include "packet/pool.h"
#include "wire/address.h"

namespace weir::pipeline {

/// The IP header of a packet that weir sends in its own name.
struct Answer {
  std::uint8_t protocol = 0;
  std::uint8_t tos = 0;  // Or IPv6's traffic class.
  bool has_df = false;   // IPv4.
  wire::Address source;
  wire::Address destination;
  Be16 ip_id;  // IPv4.
};

/// A packet of `about`'s family with TTL 64 and room for `l4_bytes` (not initialised), the header
/// check group filled in, checksum verified, from the host, and of `about`'s port and interface.
/// Null when the pool is empty.
packet::Packet* make_answer(const packet::Packet& about, const Answer& answer,
                            std::uint32_t l4_bytes, packet::Pool& pool);

}  // namespace weir::pipeline
