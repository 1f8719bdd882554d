#include "conntrack/control.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <thread>

#include "conntrack/tracker.h"

namespace weir::conntrack {
namespace {

/// Between two looks at whether a worker has done something.
void pause() { std::this_thread::sleep_for(std::chrono::microseconds(20)); }

}  // namespace

std::optional<Snapshot> Control::find(const Tuple& tuple, Time now) const {
  const EpochGuard guard(table_.epochs(), participant_);
  const std::optional<Found> found = table_.find(tuple, now);
  if (!found) return std::nullopt;
  return table_.snapshot(found->number, now);
}

bool Control::remove(const Snapshot& connection, std::uint32_t port_id) {
  return post_and_wait({.kind = Change::Kind::remove,
                        .number = connection.number,
                        .generation = connection.generation,
                        .port_id = port_id});
}

std::optional<Snapshot> Control::zero_counters(const Snapshot& connection) {
  Snapshot before;
  const bool was_there = post_and_wait({.kind = Change::Kind::zero_counters,
                                        .number = connection.number,
                                        .generation = connection.generation,
                                        .before = &before});
  return was_there ? std::optional(before) : std::nullopt;
}

bool Control::set_mark(const Snapshot& connection, std::uint32_t value, std::uint32_t mask,
                       std::uint32_t port_id) {
  return post_and_wait({.kind = Change::Kind::set_mark,
                        .number = connection.number,
                        .generation = connection.generation,
                        .mark = value,
                        .mark_mask = mask,
                        .port_id = port_id});
}

Control::Posted Control::post(const Change& change) {
  Posted posted{.worker = table_.arena()[change.number].owner.load(std::memory_order_relaxed)};
  Tracker& tracker = table_.tracker(posted.worker);
  while (!tracker.post(change, posted.ticket)) {
    table_.wake(posted.worker);
    pause();
  }
  return posted;
}

void Control::wait(const Posted& posted) const {
  const Tracker& tracker = table_.tracker(posted.worker);
  while (tracker.changes_done() < posted.ticket) {
    table_.wake(posted.worker);
    if (tracker.changes_done() >= posted.ticket) return;
    pause();
  }
}

bool Control::post_and_wait(Change change) {
  bool was_there = false;
  change.done = &was_there;
  wait(post(change));
  return was_there;
}

std::vector<char> Control::post_all_and_wait(std::vector<Change>& changes) {
  const std::unique_ptr<bool[]> done(new bool[changes.size()]());
  std::vector<Posted> posted;
  posted.reserve(changes.size());
  for (std::size_t i = 0; i < changes.size(); ++i) {
    changes[i].done = &done[i];
    posted.push_back(post(changes[i]));
  }
  for (const Posted& each : posted) wait(each);
  return {done.get(), done.get() + changes.size()};
}

std::size_t Control::remove_all(const std::vector<Snapshot>& connections, std::uint32_t port_id) {
  std::vector<Change> changes;
  changes.reserve(connections.size());
  for (const Snapshot& connection : connections) {
    changes.push_back({.kind = Change::Kind::remove,
                       .number = connection.number,
                       .generation = connection.generation,
                       .port_id = port_id});
  }
  const std::vector<char> done = post_all_and_wait(changes);
  return static_cast<std::size_t>(std::count(done.begin(), done.end(), 1));
}

void Control::zero_counters(std::vector<Snapshot>& connections) {
  std::vector<Change> changes;
  changes.reserve(connections.size());
  for (Snapshot& connection : connections) {
    changes.push_back({.kind = Change::Kind::zero_counters,
                       .number = connection.number,
                       .generation = connection.generation,
                       .before = &connection});
  }
  const std::vector<char> done = post_all_and_wait(changes);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < connections.size(); ++i) {
    if (done[i]) connections[kept++] = connections[i];
  }
  connections.resize(kept);
}

}  // namespace weir::conntrack
