#include "conntrack/control.h"

#include <algorithm>
#include <chrono>
#include <thread>

#include "conntrack/tracker.h"

namespace weir::conntrack {
namespace {

/// Between two looks at whether a worker has done something.
void pause() { std::this_thread::sleep_for(std::chrono::microseconds(20)); }

}  // namespace

std::optional<Snapshot> Control::find(const Tuple& tuple, Time now,
                                      std::optional<Direction> direction) const {
  const EpochGuard guard(table_.epochs(), participant_);
  const std::optional<Found> found = table_.find(tuple, now);
  if (!found || (direction && found->direction != *direction)) return std::nullopt;
  return table_.snapshot(found->number, now);
}

bool Control::remove(const Snapshot& connection, std::uint32_t port_id) {
  return post_and_wait({.kind = Change::Kind::remove,
                        .number = connection.number,
                        .generation = connection.generation,
                        .port_id = port_id}) == 0;
}

std::optional<Snapshot> Control::zero_counters(const Snapshot& connection) {
  Snapshot before;
  const int error = post_and_wait({.kind = Change::Kind::zero_counters,
                                   .number = connection.number,
                                   .generation = connection.generation,
                                   .before = &before});
  return error == 0 ? std::optional(before) : std::nullopt;
}

int Control::edit(const Snapshot& connection, const Edit& edit, std::uint32_t port_id) {
  return post_and_wait({.kind = Change::Kind::edit,
                        .number = connection.number,
                        .generation = connection.generation,
                        .port_id = port_id,
                        .edit = &edit});
}

int Control::create(const Creation& creation) {
  Making making;
  begin_create(creation, making);
  return finish(making);
}

void Control::begin_create(const Creation& creation, Making& making) {
  making.posted =
      post({.kind = Change::Kind::create, .creation = &creation, .error = &making.error});
}

int Control::finish(const Making& making) const {
  wait(making.posted);
  return making.error;
}

Control::Posted Control::post(const Change& change) {
  Posted posted;
  if (change.kind == Change::Kind::create) {
    posted.worker = next_maker_++ % table_.workers();
  } else {
    posted.worker = table_.arena()[change.number].owner.load(std::memory_order_relaxed);
  }
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

int Control::post_and_wait(Change change) {
  int error = 0;
  change.error = &error;
  wait(post(change));
  return error;
}

std::vector<int> Control::post_all_and_wait(std::vector<Change>& changes) {
  std::vector<int> errors(changes.size());
  std::vector<Posted> posted;
  posted.reserve(changes.size());
  for (std::size_t i = 0; i < changes.size(); ++i) {
    changes[i].error = &errors[i];
    posted.push_back(post(changes[i]));
  }
  for (const Posted& each : posted) wait(each);
  return errors;
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
  const std::vector<int> errors = post_all_and_wait(changes);
  return static_cast<std::size_t>(std::count(errors.begin(), errors.end(), 0));
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
  const std::vector<int> errors = post_all_and_wait(changes);
  std::size_t kept = 0;
  for (std::size_t i = 0; i < connections.size(); ++i) {
    if (errors[i] == 0) connections[kept++] = connections[i];
  }
  connections.resize(kept);
}

int Control::expect(std::uint32_t master, std::uint32_t generation,
                    const ExpectationChange& change) {
  return post_and_wait({.kind = Change::Kind::expect,
                        .number = master,
                        .generation = generation,
                        .expectation = &change});
}

}  // namespace weir::conntrack
