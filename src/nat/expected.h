#pragma once

#include <cstdint>
#include <span>

#include "base/clock.h"
#include "base/siphash.h"
#include "conntrack/tracker.h"
#include "nat/findings.h"
#include "nat/nat.h"
#include "packet/packet.h"

namespace weir::nat {

/// How many expectations of one class a connection may have at once, and for how long.
struct ExpectationPolicy {
  std::uint16_t max_expected = 0;
  Duration lifetime{};
};

/// Expects what a helper has found in the packet. Where the connection is translated, so will be
/// the expected one: a port is chosen for it, the announced one if it is free, and the announcement
/// in the payload is rewritten to what its receiver can reach. False when the packet must be
/// dropped: its announcement can't be kept. `policies` are the helper's, by class; `key` makes the
/// choice of ports unforeseeable.
[[nodiscard]] bool expect_findings(conntrack::Tracker& tracker, packet::Packet& packet,
                                   const Findings& findings,
                                   std::span<const ExpectationPolicy> policies, const HashKey& key,
                                   Time now);

/// For a packet that begins a connection which was expected: translates it like its master, if the
/// expectation says so (nf_nat_follow_master). Before any rule. False when it must be dropped.
[[nodiscard]] bool follow_master(Nat& nat, conntrack::Tracker& tracker, packet::Packet& packet,
                                 Time now);

}  // namespace weir::nat
