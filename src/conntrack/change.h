#pragma once

#include <cstdint>

#include "conntrack/edit.h"
#include "conntrack/entry.h"
#include "conntrack/expectation.h"

namespace weir::conntrack {

/// What a control thread wants done: posted to the mailbox of a worker, for an entry that exists of
/// the one that owns it, and done there between two batches. What it points to lives until then.
struct Change {
  enum class Kind : std::uint8_t { remove, edit, zero_counters, create, expect };

  Kind kind = Kind::remove;
  std::uint32_t number = 0;      // Of the entry; create: none.
  std::uint32_t generation = 0;  // Another life of this number is left alone.
  std::uint32_t port_id = 0;     // Of the netlink socket that asked; events carry it.
  const Edit* edit = nullptr;
  const Creation* creation = nullptr;
  const ExpectationChange* expectation = nullptr;  // `number` is its master's.
  Snapshot* before = nullptr;                      // Receives the entry as it was.
  int* error = nullptr;  // Receives zero or an errno; ENOENT when the entry was gone.
};

}  // namespace weir::conntrack
