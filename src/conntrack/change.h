#pragma once

#include <cstdint>

#include "conntrack/entry.h"

namespace weir::conntrack {

/// What a control thread wants done to an entry: posted to the mailbox of the worker that owns it,
/// and done there between two batches.
struct Change {
  enum class Kind : std::uint8_t { remove, set_mark, zero_counters };

  Kind kind = Kind::remove;
  std::uint32_t number = 0;
  std::uint32_t generation = 0;  // Another life of this number is left alone.
  std::uint32_t mark = 0;        // set_mark: (old & ~mark_mask) ^ mark.
  std::uint32_t mark_mask = 0xffffffff;
  std::uint32_t port_id = 0;   // Of the netlink socket that asked; events carry it.
  Snapshot* before = nullptr;  // Receives the entry as it was; lives until the change is done.
  bool* done = nullptr;        // Receives whether the entry was there. Likewise.
};

}  // namespace weir::conntrack
