#include "conntrack/table.h"

#include <sched.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "conntrack/connection.h"
#include "conntrack/sound.h"
#include "conntrack/tracker.h"
#include "conntrack/tuple_hash.h"
#include "wire/protocol.h"

namespace weir::conntrack {
namespace {

constexpr std::uint32_t kMaxConnections = 1u << 29;  // Numbers have 30 bits.
constexpr std::uint32_t kMaxWorkers = 256;           // Entry::owner has eight.

/// Entries beyond `max` for the dead that wait for their epoch.
std::uint32_t arena_capacity(const TableOptions& options) {
  return options.max + options.max / 16 + 4096 * options.workers;
}

}  // namespace

Result<std::unique_ptr<Table>> Table::create(const TableOptions& options, Time now) {
  if (options.max == 0 || options.max > kMaxConnections) {
    return std::unexpected(Error{EINVAL, "the table can hold 1 to 536870912 connections"});
  }
  if (options.workers == 0 || options.workers > kMaxWorkers) {
    return std::unexpected(Error{EINVAL, "there can be 1 to 256 workers"});
  }
  auto arena = Arena::open(arena_capacity(options), options.arena_fd, options.key);
  if (!arena) return std::unexpected(arena.error());
  auto extensions =
      Extensions::open(arena->capacity(), options.extension_fd, arena->is_recovered());
  if (!extensions) return std::unexpected(extensions.error());
  auto expectations = Expectations::map(options.expectation_fd);
  if (!expectations) return std::unexpected(expectations.error());
  auto index = Index::reserve(std::uint64_t{arena->capacity()} * 2);
  if (!index) return std::unexpected(index.error());

  std::unique_ptr<Table> table(new Table(options, {.entries = std::move(*arena),
                                                   .extensions = std::move(*extensions),
                                                   .expectations = std::move(*expectations),
                                                   .index = std::move(*index)}));
  if (!table->arena_.is_recovered()) {
    table->expectations_.clear();
    table->limits_.start();
  } else if (!options.recovers_later) {
    table->recover(now);
  }
  table->fault_ahead();
  return table;
}

Table::Table(const TableOptions& options, Memory memory)
    : options_(options),
      arena_(std::move(memory.entries)),
      extensions_(std::move(memory.extensions)),
      expectations_(std::move(memory.expectations), arena_, extensions_),
      index_(std::move(memory.index)),
      epochs_(options.workers + options.controls),
      limits_(arena_, epochs_),
      sysctl_(options.sysctl),
      policies_(epochs_),
      gre_keymap_(arena_.key()),
      wall_offset_(options.wall_offset.count()) {
  sysctl_.max.set(options.max);
  sysctl_.max_limit.set(options.max);
  for (std::uint32_t i = 0; i < options.workers; ++i) {
    trackers_.push_back(std::make_unique<Tracker>(*this, i));
  }
}

Table::~Table() = default;

/// What an engine before us has left in the arena: what was committed is there again, everything
/// else is free.
void Table::recover(Time now) {
  std::uint32_t next_worker = 0;
  for (std::uint32_t number = 1; number < arena_.used_end(); ++number) {
    Entry& entry = arena_[number];
    entry.lock.reset();
    entry.sequence.store(0, std::memory_order_relaxed);
    entry.wheel = {};
    entry.link = 0;
    entry.hastened.store(0, std::memory_order_relaxed);
    entry.event_sequence = 0;
    entry.reply_reserved = false;
    entry.counted.store(0, std::memory_order_relaxed);
    Tracker& tracker = *trackers_[next_worker++ % trackers_.size()];
    entry.owner.store(static_cast<std::uint8_t>(tracker.worker_), std::memory_order_relaxed);

    const bool was_alive = entry.committed.load(std::memory_order_relaxed) != 0 &&
                           (entry.hot.status & status::kDying) == 0;
    const bool is_alive = was_alive && is_sound(entry, now) && count() < max() && insert(number);
    if (!is_alive) {
      if (was_alive) ++recovery_.dropped;
      entry.committed.store(0, std::memory_order_relaxed);
      arena_.give(tracker.free_, number);
      continue;
    }
    ++recovery_.kept;
    count_.fetch_add(1, std::memory_order_relaxed);
    tracker.hang(number, now);
  }
  recover_extensions();
  expectations_.recover(now);
  limits_.start();
}

/// What living entries name is theirs, everything else is free.
void Table::recover_extensions() {
  const std::uint32_t end = extensions_.used_end();
  std::vector<bool> is_used(end);
  for (std::uint32_t number = 1; number < arena_.used_end(); ++number) {
    Entry& entry = arena_[number];
    const bool is_alive = entry.committed.load(std::memory_order_relaxed) != 0;
    const bool is_kept = is_alive && extensions_.is_recovered() && entry.extension != 0 &&
                         entry.extension < end && !is_used[entry.extension] &&
                         is_sound(extensions_[entry.extension]);
    if (is_kept) {
      is_used[entry.extension] = true;
      extensions_[entry.extension].expectation_head = 0;
      extensions_[entry.extension].expectation_counts = {};
      extensions_[entry.extension].timeout_policy = 0;  // Policies are numbered anew.
      continue;
    }
    entry.extension = 0;
    entry.hot.status &= ~status::kNeedsExtension;
  }
  for (std::uint32_t number = 1; number < end; ++number) {
    if (!is_used[number]) extensions_.give(trackers_[0]->free_extensions_, number);
  }
}

/// Both tuples of an entry into the index while nobody else is there. False when there is no room,
/// or another entry has one of them.
bool Table::insert(std::uint32_t number) {
  const Entry& entry = arena_[number];
  const std::uint32_t original_tag = tag(entry.original);
  const std::uint32_t reply_tag = tag(entry.reply);
  const auto is_taken = [this](std::uint32_t tag, const Tuple& tuple) {
    return index_
        .find_locked(
            tag, [&](Found found) { return arena_[found.number].tuple(found.direction) == tuple; })
        .has_value();
  };
  if (is_taken(original_tag, entry.original) || is_taken(reply_tag, entry.reply)) return false;
  index_.grow(4);
  if (!index_.insert(original_tag, {number, Direction::original}, false)) return false;
  if (index_.insert(reply_tag, {number, Direction::reply}, false)) return true;
  index_.erase(original_tag, {number, Direction::original});
  return false;
}

std::uint64_t Table::memory_bytes() const { return arena_.memory_bytes() + index_.memory_bytes(); }

void Table::set_wanted_events(std::uint32_t bits) {
  listened_to_ = bits;
  wanted_.store(sysctl_.events.is_on() ? bits : 0, std::memory_order_relaxed);
}

void Table::heed_events_knob() {
  set_wanted_events(listened_to_);
  expectations_.mute(!sysctl_.events.is_on());
}

void Table::fault_ahead() {
  arena_.fault_ahead();
  index_.fault_ahead();
}

std::uint32_t Table::tag(const Tuple& tuple) const {
  return Index::tag_of(hash_tuple(arena_.key(), tuple));
}

std::uint32_t Table::id_of(std::uint32_t number, std::uint32_t generation) const {
  const std::array<std::uint64_t, 1> words{std::uint64_t{generation} << 32 | number};
  return static_cast<std::uint32_t>(siphash13(arena_.key(), words));
}

/// An entry's bytes as they are; consistent under its lock, or when its sequence count says so.
Snapshot Table::copy(std::uint32_t number) const {
  const Entry& entry = arena_[number];
  const Hot hot = load_words(entry.hot);
  Snapshot result;
  result.number = number;
  result.generation = entry.generation;
  result.id = id_of(number, entry.generation);
  result.original = entry.original;
  result.reply = entry.reply;
  result.traffic = hot.traffic;
  result.deadline = hot.deadline;
  result.status = hot.status & status::kShown;
  result.mark = hot.mark;
  result.udp = hot.udp;
  switch (entry.original.protocol) {
    case wire::protocol::kTcp:
      result.tcp = load_words(entry.tcp);
      break;
    case wire::protocol::kSctp:
      result.sctp = load_words(entry.sctp);
      break;
    case wire::protocol::kDccp:
      result.dccp = load_words(entry.dccp);
      break;
    default:
      break;
  }
  result.start = entry.start;
  result.stop = load_words(entry.stop);
  result.nat = entry.nat;
  const std::uint32_t extension = Connection(number, entry).extension();
  if (extension != 0) result.rare = rare_of(extensions_[extension]);
  return result;
}

std::optional<Snapshot> Table::snapshot(std::uint32_t number, Time now) const {
  if (number == 0 || number >= arena_.used_end()) return std::nullopt;
  const Entry& entry = arena_[number];
  for (unsigned tries = 0;; ++tries) {
    if (entry.committed.load(std::memory_order_acquire) == 0) return std::nullopt;
    const std::uint32_t before = entry.sequence.load(std::memory_order_acquire);
    if (before % 2 == 0) {
      const Snapshot result = copy(number);
      if (entry.sequence.load(std::memory_order_acquire) == before) {
        const bool is_alive = (result.status & status::kDying) == 0 && result.deadline > now &&
                              entry.committed.load(std::memory_order_acquire) != 0;
        return is_alive ? std::optional(result) : std::nullopt;
      }
    }
    if (tries % 64 == 63) sched_yield();  // The worker that writes it may have lost its processor.
  }
}

std::optional<Found> Table::find(const Tuple& tuple, Time now) const {
  std::uint32_t restarts = 0;
  return index_.find(
      tag(tuple),
      [&](Found candidate) {
        const Connection connection(candidate.number, arena_[candidate.number]);
        return connection.tuple(candidate.direction) == tuple && !connection.is_dying() &&
               connection.deadline() > now;
      },
      &restarts);
}

std::vector<bool> Table::named_policies(Time now) const {
  std::vector<bool> named(TimeoutPolicies::kMost + 1);
  for (std::uint32_t number = 1; number < arena_.used_end(); ++number) {
    const std::optional<Snapshot> connection = snapshot(number, now);
    if (connection) named[connection->rare.timeout_policy] = true;
  }
  return named;
}

StatisticsSnapshot Table::statistics(std::uint32_t worker) const {
  return read(trackers_[worker]->statistics());
}

}  // namespace weir::conntrack
