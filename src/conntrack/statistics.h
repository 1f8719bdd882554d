#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/counter.h"
#include "conntrack/proto/step.h"

namespace weir::conntrack {

/// What a worker counts; it alone writes, anybody reads. The first group bears the names and the
/// meaning of `conntrack -S` (the kernel's struct ip_conntrack_stat).
struct alignas(64) Statistics {
  Counter found;           // Tuples that NAT wanted and another connection had.
  Counter invalid;         // Packets that belong to no connection and can't begin one.
  Counter insert;          // Entries that were published for somebody other than a packet.
  Counter insert_failed;   // Entries that could not be published.
  Counter drop;            // Packets dropped by tracking.
  Counter early_drop;      // Unassured entries that went to make room.
  Counter error;           // ICMP errors that are about no connection.
  Counter search_restart;  // Look-ups that met a growing index.
  Counter clash_resolve;   // Packets that lost the race to create their connection and went on with
                           // the winner.
  Counter chain_too_long;  // Entries for which the index had no room within its bound.
  // weir's own.
  Counter created;
  Counter destroyed;
  Counter refused;         // New connections refused because the table is full.
  Counter refused_source;  // Likewise because their source has as many as it may,
  Counter refused_zone;    // or their zone.
  Counter events_lost;     // The ring was full.
  std::array<Counter, static_cast<std::size_t>(Reason::count)> reasons;  // By Reason.
};

/// The same as plain numbers, of one worker or summed.
struct StatisticsSnapshot {
  std::uint64_t found = 0, invalid = 0, insert = 0, insert_failed = 0, drop = 0, early_drop = 0,
                error = 0, search_restart = 0, clash_resolve = 0, chain_too_long = 0, created = 0,
                destroyed = 0, refused = 0, refused_source = 0, refused_zone = 0, events_lost = 0;
  std::array<std::uint64_t, static_cast<std::size_t>(Reason::count)> reasons{};

  StatisticsSnapshot& operator+=(const StatisticsSnapshot& other);
};

StatisticsSnapshot read(const Statistics& statistics);

}  // namespace weir::conntrack
