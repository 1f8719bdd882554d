// How entries get room, die, and give their memory back.
//
// Every published entry hangs on a wheel of the worker that made it, its owner: the one for assured
// entries or the one for all others, whose head goes first when the table is full. Any worker may
// kill an entry: the one that sets DYING under the entry's lock takes both tuples out of the index
// and tells the listeners. Then the owner takes it off its wheel; if that is another worker, the
// entry reaches it through its graveyard, a stack that others push to. The owner keeps the dead in
// limbo until no reader can still see them (base/epoch.h), and then uses their numbers again.
//
// The wheels are lazy: a later deadline waits for the old slot to fire. An earlier one can't. TCP,
// SCTP and DCCP have them: a connection of days that closes, data that wait for their ACK. Entries
// that have such a state remember
// when their slot comes at the latest, and whoever sets a deadline before that has the owner hang
// the entry again (hasten).

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <mutex>
#include <utility>

#include "conntrack/tracker.h"
#include "wire/protocol.h"

namespace weir::conntrack {
namespace {

constexpr unsigned kEvictionAttempts = 16;
constexpr unsigned kReclaimedAtOnce = 1024;
constexpr std::uint32_t kLastHastened = 0xffffffff;

/// Whether an entry may go to make room: it isn't assured, or it is closing (the kernel's
/// can_early_drop). Such entries hang on the wheel whose head goes first.
bool may_go(const Entry& entry, const Connection& connection) {
  if (!connection.is_assured()) return true;
  switch (entry.original.protocol) {
    case wire::protocol::kTcp:
      return load_words(entry.tcp).is_closing();
    case wire::protocol::kSctp:
      return load_words(entry.sctp).is_closing();
    case wire::protocol::kDccp:
      return load_words(entry.dccp).is_closing();
    default:
      return false;
  }
}

std::uint32_t second_of(Time time) {
  return static_cast<std::uint32_t>(
      std::chrono::duration_cast<std::chrono::seconds>(time.time_since_epoch()).count());
}

}  // namespace

std::uint32_t Tracker::make_room(Time now) {
  const std::uint32_t count = table_.count_.fetch_add(1, std::memory_order_relaxed) + 1;
  if (count <= table_.max() || drop_early(now)) {
    std::uint32_t number = arena_.take(free_);
    if (number == 0) {
      reclaim();
      number = arena_.take(free_);
    }
    if (number != 0) return number;
  }
  table_.count_.fetch_sub(1, std::memory_order_relaxed);
  return 0;
}

/// Kills the entry that would expire first out of those that may go, in constant time.
bool Tracker::drop_early(Time now) {
  for (unsigned attempt = 0; attempt < kEvictionAttempts; ++attempt) {
    const std::uint32_t number = unassured_.first();
    if (number == 0) break;
    if (!may_go(arena_[number], entry(number))) {
      unassured_.remove(number);
      hang(number, now);
    } else if (kill(number, now)) {
      statistics_.early_drop.add();
      return true;
    } else {
      unassured_.remove(number);  // Killed by another worker: on its way to our graveyard.
    }
  }
  // The others may have some: they are asked, this packet doesn't wait for it.
  for (std::uint32_t worker = 0; worker < table_.workers(); ++worker) {
    if (worker == worker_) continue;
    if (table_.tracker(worker).evictions_wanted_.fetch_add(1, std::memory_order_relaxed) == 0) {
      table_.wake(worker);
    }
  }
  return false;
}

void Tracker::hang(std::uint32_t number, Time now) {
  Entry& entry = arena_[number];
  const Connection connection(number, entry);
  entry.on_assured_wheel = !may_go(entry, connection);
  (entry.on_assured_wheel ? assured_ : unassured_).add(number, connection.deadline(), now);
  if (has_state_line(entry.original.protocol)) {
    entry.hangs_until.store(second_of(connection.deadline()), std::memory_order_relaxed);
  }
}

bool Tracker::is_overdue_on_wheel(const Entry& entry, Time deadline) {
  return second_of(deadline) < entry.hangs_until.load(std::memory_order_relaxed);
}

void Tracker::hasten(std::uint32_t number, Time now) {
  Entry& entry = arena_[number];
  const std::uint32_t owner = entry.owner.load(std::memory_order_relaxed);
  if (owner == worker_) return hang_again(number, now);
  std::uint32_t free = 0;
  if (!entry.hastened.compare_exchange_strong(free, kLastHastened, std::memory_order_relaxed))
    return;
  std::atomic<std::uint32_t>& list = table_.tracker(owner).hastened_;
  std::uint32_t head = list.load(std::memory_order_relaxed);
  do {
    entry.hastened.store(head == 0 ? kLastHastened : head, std::memory_order_relaxed);
  } while (!list.compare_exchange_weak(head, number, std::memory_order_release,
                                       std::memory_order_relaxed));
  table_.wake(owner);
}

/// Requires: the entry is ours.
void Tracker::hang_again(std::uint32_t number, Time now) {
  Entry& entry = arena_[number];
  if (!TimingWheel::hangs(entry.wheel)) return;  // Dead, or not published yet.
  (entry.on_assured_wheel ? assured_ : unassured_).remove(number);
  hang(number, now);
}

void Tracker::collect_hastened(Time now) {
  std::uint32_t number = hastened_.exchange(0, std::memory_order_acquire);
  while (number != 0) {
    const std::uint32_t next = arena_[number].hastened.exchange(0, std::memory_order_relaxed);
    hang_again(number, now);
    number = next == kLastHastened ? 0 : next;
  }
}

bool Tracker::kill(std::uint32_t number, Time now, std::uint32_t port_id) {
  Entry& entry = arena_[number];
  {
    const std::lock_guard lock(entry.lock);
    std::atomic_ref field(entry.hot.status);
    const std::uint32_t status = field.load(std::memory_order_relaxed);
    if ((status & status::kDying) != 0) return false;
    field.store(status | status::kDying, std::memory_order_release);
  }
  finish_kill(number, now, port_id);
  return true;
}

bool Tracker::kill_expired(std::uint32_t number, Time now) {
  Entry& entry = arena_[number];
  {
    const std::lock_guard lock(entry.lock);
    std::atomic_ref field(entry.hot.status);
    const std::uint32_t status = field.load(std::memory_order_relaxed);
    if ((status & status::kConfirmed) == 0) return false;  // A reservation does not expire.
    if ((status & status::kDying) != 0) return true;
    if (Connection(number, entry).deadline() > now) return false;
    field.store(status | status::kDying, std::memory_order_release);
  }
  finish_kill(number, now, 0);
  return true;
}

/// Requires: we have set DYING.
void Tracker::finish_kill(std::uint32_t number, Time now, std::uint32_t port_id) {
  Entry& entry = arena_[number];
  const std::uint32_t original_tag = table_.tag(entry.original);
  const std::uint32_t reply_tag = table_.tag(entry.reply);
  {
    const Index::Guard guard(index_, original_tag, reply_tag);
    index_.erase(original_tag, {number, Direction::original});
    index_.erase(reply_tag, {number, Direction::reply});
  }
  if (Connection(number, entry).is_source_translated()) table_.tell_freed(entry.reply);
  entry.committed.store(0, std::memory_order_release);
  {
    const std::lock_guard lock(entry.lock);
    if (entry.start != Duration{}) store_words(entry.stop, table_.wall(now));
    if ((table_.wanted_events() & event::kDestroy) != 0) {
      deliver(number, event::kDestroy, port_id);
    }
  }
  forget_expectations(number);
  statistics_.destroyed.add();
  table_.limits_.end(entry);
  table_.count_.fetch_sub(1, std::memory_order_relaxed);

  const std::uint32_t owner = entry.owner.load(std::memory_order_relaxed);
  if (owner == worker_) {
    bury(number);
    return;
  }
  std::atomic<std::uint32_t>& graveyard = table_.tracker(owner).graveyard_;
  entry.link = graveyard.load(std::memory_order_relaxed);
  while (!graveyard.compare_exchange_weak(entry.link, number, std::memory_order_release,
                                          std::memory_order_relaxed)) {
  }
}

/// Requires: the entry is ours and dead.
void Tracker::bury(std::uint32_t number) {
  Entry& entry = arena_[number];
  if (TimingWheel::hangs(entry.wheel)) {
    (entry.on_assured_wheel ? assured_ : unassured_).remove(number);
  }
  entry.link = gathering_.head;
  gathering_.head = number;
}

void Tracker::collect_dead() {
  std::uint32_t number = graveyard_.exchange(0, std::memory_order_acquire);
  while (number != 0) {
    const std::uint32_t next = arena_[number].link;
    bury(number);
    number = next;
  }
}

void Tracker::reclaim() {
  if (waiting_.head == 0 && gathering_.head != 0) {
    waiting_ = {gathering_.head, table_.epochs_.advance()};
    gathering_ = {};
  }
  if (waiting_.head == 0 || !table_.epochs_.reached(waiting_.tag)) return;
  for (unsigned i = 0; i < kReclaimedAtOnce && waiting_.head != 0; ++i) {
    const std::uint32_t number = waiting_.head;
    waiting_.head = arena_[number].link;
    give_back(number);
  }
}

/// An entry and its extension to the free ones. Requires: nobody sees it any more.
void Tracker::give_back(std::uint32_t number) {
  const std::uint32_t extension = std::exchange(arena_[number].extension, 0);
  if (extension != 0) extensions_.give(free_extensions_, extension);
  arena_.give(free_, number);
}

/// A wheel's slot has come for an entry, which is off the wheel now.
void Tracker::fire(std::uint32_t number, Time now) {
  const Connection connection = entry(number);
  if (connection.is_dying()) return;  // On its way to our graveyard.
  if (!kill_expired(number, now)) hang(number, now);
}

std::size_t Tracker::expire(Time now, std::size_t budget) {
  collect_dead();
  collect_hastened(now);
  std::uint32_t wanted = evictions_wanted_.exchange(0, std::memory_order_relaxed);
  for (std::size_t i = 0; i < budget && wanted != 0; ++i, --wanted) {
    if (unassured_.size() == 0 || table_.count() < table_.max() || !drop_early(now)) break;
  }
  const auto fire_one = [&](std::uint32_t number) { fire(number, now); };
  std::size_t fired = unassured_.turn(now, budget, fire_one);
  fired += assured_.turn(now, budget - fired, fire_one);
  table_.expectations_.expire(now, budget);
  reclaim();
  return fired;
}

Time Tracker::next_deadline() const {
  return std::min({assured_.next_due(), unassured_.next_due(), table_.expectations_.next_due()});
}

void Tracker::remove(std::uint32_t number, Time now) { kill(number, now); }

void Tracker::online() { table_.epochs_.online(worker_); }
void Tracker::offline() { table_.epochs_.offline(worker_); }
void Tracker::quiet() { table_.epochs_.quiet(worker_); }

void Tracker::deliver(std::uint32_t number, std::uint32_t bits, std::uint32_t port_id) {
  Entry& entry = arena_[number];
  if (bits != event::kDestroy && Connection(number, entry).is_dying()) return;
  if (!events_.has_room()) {
    statistics_.events_lost.add();
    return;
  }
  Event& event = events_.next();
  event.bits = bits;
  event.sequence = ++entry.event_sequence;
  event.port_id = port_id;
  event.connection = table_.copy(number);
  events_.publish();
}

bool Tracker::post(const Change& change, std::uint64_t& ticket) {
  const std::lock_guard lock(post_lock_);
  if (!mailbox_.has_room()) return false;
  mailbox_.next() = change;
  mailbox_.publish();
  ticket = ++posted_;
  return true;
}

std::size_t Tracker::serve_mailbox(Time now, std::size_t budget) {
  std::size_t served = 0;
  for (; served < budget; ++served) {
    const Change* const change = mailbox_.front();
    if (change == nullptr) break;
    apply(*change, now);
    mailbox_.pop();
    changes_done_.store(changes_done_.load(std::memory_order_relaxed) + 1,
                        std::memory_order_release);
  }
  return served;
}

void Tracker::apply(const Change& change, Time now) {
  const int error = change.kind == Change::Kind::create ? create(*change.creation, now)
                                                        : apply_to_entry(change, now);
  if (change.error != nullptr) *change.error = error;
}

int Tracker::apply_to_entry(const Change& change, Time now) {
  Entry& entry = arena_[change.number];
  const bool is_there = entry.committed.load(std::memory_order_acquire) != 0 &&
                        entry.generation == change.generation && !kill_expired(change.number, now);
  if (!is_there) return ENOENT;
  if (change.before != nullptr) {
    const std::lock_guard lock(entry.lock);
    *change.before = table_.copy(change.number);
  }
  switch (change.kind) {
    case Change::Kind::remove:
      return kill(change.number, now, change.port_id) ? 0 : ENOENT;
    case Change::Kind::edit:
      return edit(change.number, *change.edit, change.port_id, now);
    case Change::Kind::zero_counters: {
      const std::lock_guard lock(entry.lock);
      const std::uint32_t sequence = entry.sequence.load(std::memory_order_relaxed);
      entry.sequence.store(sequence + 1, std::memory_order_relaxed);
      store_words(entry.hot.traffic, {});
      entry.sequence.store(sequence + 2, std::memory_order_release);
      return 0;
    }
    case Change::Kind::expect:
      return apply_to_expectation(change.number, *change.expectation, now);
    case Change::Kind::create:
      break;
  }
  return EOPNOTSUPP;
}

}  // namespace weir::conntrack
