#pragma once

#include <array>
#include <cstddef>

#include "base/counter.h"
#include "packet/drop.h"

namespace weir::pipeline {

/// The most ports of an engine.
inline constexpr std::size_t kMaxPorts = 64;

/// What became of the packets that came in by one port, from the wire or from the host's side of
/// it.
struct PortCounters {
  Counter forwarded;
  Counter to_host;
  Counter dropped;
};

/// What a worker's path has done with packets; it alone counts, anybody reads.
struct alignas(64) Counters {
  Counter received;       // From ports.
  Counter from_host;      // From the host's stack.
  Counter forwarded;      // Accepted on their way from port to port.
  Counter to_host;        // Handed to the host's stack.
  Counter sent_for_host;  // From the host's stack to a port.
  Counter generated;      // ICMP errors and TCP resets of weir's own.
  Counter icmp_limited;   // Errors that the rate limits held back.
  std::array<Counter, static_cast<std::size_t>(packet::Drop::count)> drops;  // By Drop.
  std::array<PortCounters, kMaxPorts> ports;                                 // By port number.
};

}  // namespace weir::pipeline
