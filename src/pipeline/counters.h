#pragma once

#include <array>
#include <cstddef>

#include "base/counter.h"
#include "packet/drop.h"

namespace weir::pipeline {

/// What a worker's path has done with packets; it alone counts, anybody reads.
struct alignas(64) Counters {
  Counter received;        // From ports.
  Counter from_host;       // From the host's stack.
  Counter forwarded;       // Sent on from port to port.
  Counter to_host;         // Handed to the host's stack.
  Counter sent_for_host;   // From the host's stack to a port.
  Counter generated;       // ICMP errors and TCP resets of weir's own.
  Counter icmp_limited;    // Errors that the rate limits held back.
  std::array<Counter, static_cast<std::size_t>(packet::Drop::count)> drops;  // By Drop.
};

}  // namespace weir::pipeline
