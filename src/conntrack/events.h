#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/ring.h"
#include "conntrack/entry.h"

namespace weir::conntrack {

/// What happened to a connection, as it was right afterwards.
struct Event {
  std::uint32_t bits = 0;      // event::k*
  std::uint32_t sequence = 0;  // Of this entry's number; consecutive over all workers' rings.
  std::uint32_t port_id =
      0;  // Of the netlink socket that asked for it, zero for packets and timers.
  Snapshot connection;
};

/// A worker's events on their way to control/.
using EventRing = Ring<Event>;

/// Reads the rings of all workers, one thread's. A connection whose directions two workers handle
/// has events in two rings: the reader delivers them in the order of their sequence numbers,
/// holding one back until its predecessor has arrived. Numbers are given only to events that found
/// room in a ring, so a lost event leaves no gap.
class EventReader {
 public:
  /// `entries` is the number of the arena's last entry plus one. The rings outlive the reader.
  EventReader(std::vector<EventRing*> rings, std::uint32_t entries);

  /// Hands at most `budget` events to `deliver(const Event&)`; returns how many.
  template <typename Deliver>
  std::size_t read(std::size_t budget, Deliver&& deliver) {
    std::size_t delivered = 0;
    for (EventRing* const ring : rings_) {
      while (delivered < budget) {
        const Event* const event = ring->front();
        if (event == nullptr) break;
        if (is_next(*event)) {
          note(*event);
          deliver(*event);
          ++delivered;
        } else {
          held_.push_back(*event);
        }
        ring->pop();
      }
    }
    for (std::size_t i = 0; i < held_.size() && delivered < budget;) {
      if (!is_next(held_[i])) {
        ++i;
        continue;
      }
      const Event event = held_[i];
      held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(i));
      note(event);
      deliver(event);
      ++delivered;
      i = 0;  // It may have been waited for by one that was passed over.
    }
    return delivered;
  }

 private:
  bool is_next(const Event& event) const {
    return event.sequence == last_[event.connection.number] + 1;
  }
  void note(const Event& event) { last_[event.connection.number] = event.sequence; }

  std::vector<EventRing*> rings_;
  std::vector<std::uint32_t> last_;  // By number: the sequence that was delivered last.
  std::vector<Event> held_;
};

}  // namespace weir::conntrack
