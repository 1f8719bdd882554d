#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "base/clock.h"
#include "conntrack/table.h"
#include "fragments/reassembly.h"
#include "nat/nat.h"
#include "pipeline/icmp_error.h"
#include "routing/database.h"
#include "routing/neighbours.h"
#include "rules/context.h"
#include "rules/ruleset.h"

namespace weir::pipeline {

/// A network port as the path knows it: the place of an interface index in the engine's list. The
/// control thread changes the index when the device disappears and comes back.
struct PortId {
  explicit PortId(std::uint32_t index) : ifindex(index) {}
  std::atomic<std::uint32_t> ifindex;
};

/// What all workers of an engine share. Made by engine/; outlives the workers.
struct Shared {
  conntrack::Table& conntrack;
  nat::Nat& nat;
  fragments::Reassembly& reassembly;
  routing::Database& routing;
  routing::Neighbours& neighbours;
  rules::Ruleset& ruleset;
  rules::Services services;
  std::vector<PortId*> ports;        // By port number.
  std::atomic<bool> is_open{false};  // False until rules are loaded: everything is dropped.
  IcmpLimits icmp_limits;
  HashKey key;  // Random per boot, for what an attacker must not guess.
};

}  // namespace weir::pipeline
