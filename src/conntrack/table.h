#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/epoch.h"
#include "base/error.h"
#include "base/siphash.h"
#include "conntrack/arena.h"
#include "conntrack/entry.h"
#include "conntrack/expectations.h"
#include "conntrack/extension.h"
#include "conntrack/index.h"
#include "conntrack/limits.h"
#include "conntrack/policy.h"
#include "conntrack/proto/gre.h"
#include "conntrack/statistics.h"
#include "conntrack/sysctl.h"

namespace weir::conntrack {

class Tracker;

/// What a Table is made with.
struct TableOptions {
  std::uint32_t max = 262144;  // nf_conntrack_max: connections, unconfirmed ones included.
  std::uint32_t workers = 1;
  std::uint32_t controls = 4;     // Threads beside the workers that look at the table.
  std::size_t event_ring = 8192;  // Events a worker can have outstanding.
  int arena_fd = -1;      // File or memfd for the entries, which a restarted engine may map again.
  int extension_fd = -1;  // Likewise for their extensions.
  bool recovers_later = false;   // Another engine still has the files: recover() when it is gone.
  int expectation_fd = -1;       // Likewise for expectations.
  Duration wall_offset{};        // What to add to the clock to get the wall's, for time stamps.
  Sysctl sysctl{};               // But for its `max`.
  std::optional<HashKey> key{};  // For tests that need the same hashes twice.
};

/// Told by any worker, amid its work, that a reply tuple which source NAT has chosen is free again.
class ReplyWatch {
 public:
  virtual void freed(const Tuple& reply) = 0;

 protected:
  ~ReplyWatch() = default;
};

/// The one connection table that all workers share: the arena of entries, the index over their
/// tuples, and a Tracker per worker. arena.h, index.h and tracker.h say how each part is
/// shared.
class Table {
 public:
  /// Errors: no memory; EINVAL when `max` is out of range or the file holds another layout. A file
  /// that was used in this boot is recovered: what was published is there again, `now` decides what
  /// has expired.
  static Result<std::unique_ptr<Table>> create(const TableOptions& options, Time now);
  ~Table();

  /// Takes over what an engine before us has left in the arena, with TableOptions::recovers_later:
  /// before anybody else looks at the table. Damaged entries are dropped.
  void recover(Time now);
  /// What recovery found.
  struct Recovery {
    std::uint32_t kept = 0;
    std::uint32_t dropped = 0;  // Published ones that make no sense, or are beyond `max`.
  };
  const Recovery& recovery() const { return recovery_; }

  Tracker& tracker(std::uint32_t worker) { return *trackers_[worker]; }
  std::uint32_t workers() const { return static_cast<std::uint32_t>(trackers_.size()); }

  /// Entries now (unconfirmed included) and at most.
  std::uint32_t count() const { return count_.load(std::memory_order_relaxed); }
  std::uint32_t max() const {
    const std::uint32_t max = sysctl_.max.get();
    return max != 0 ? max : sysctl_.max_limit.get();
  }
  std::uint64_t memory_bytes() const;
  std::uint32_t index_lines() const { return index_.lines(); }

  /// The one who is told of freed reply tuples, or null. Not while workers run.
  void watch_replies(ReplyWatch* watch) { reply_watch_ = watch; }

  /// Events that anybody listens to, 1 << IPCT_*: the OR over all listeners. control/ sets it.
  /// None while nf_conntrack_events is 0.
  void set_wanted_events(std::uint32_t bits);
  /// After a change of that knob.
  void heed_events_knob();
  std::uint32_t wanted_events() const { return wanted_.load(std::memory_order_relaxed); }

  /// How to wake a worker that may sleep: it has mail, or is asked for room. Called from any
  /// thread; where there are no threads it may do the worker's between-batch work itself. Set
  /// before workers start.
  using Waker = void (*)(void* context, std::uint32_t worker);
  void set_waker(Waker waker, void* context) {
    waker_ = waker;
    waker_context_ = context;
  }
  void wake(std::uint32_t worker) const {
    if (waker_ != nullptr) waker_(waker_context_, worker);
  }

  /// A control thread's standing work: backs memory ahead of the workers. Call it every few
  /// milliseconds while the engine runs. Without it workers fault memory in themselves.
  void fault_ahead();

  Epochs& epochs() { return epochs_; }
  /// The epoch participant of control thread `i`, below TableOptions::controls.
  std::size_t control_participant(std::uint32_t i) const { return workers() + i; }

  /// All nf_conntrack_* knobs; the control thread sets them, anybody reads.
  Sysctl& sysctl() { return sysctl_; }
  const Sysctl& sysctl() const { return sysctl_; }

  /// How many connections a source and a zone may have.
  Limits& limits() { return limits_; }
  const Limits& limits() const { return limits_; }

  /// Timeout policies; the control thread adds and removes them.
  TimeoutPolicies& policies() { return policies_; }
  /// Which policies connections name, by number. On a control thread that is in an epoch.
  std::vector<bool> named_policies(Time now) const;
  /// The source keys of PPTP's calls, which its helper adds.
  GreKeymap& gre_keymap() { return gre_keymap_; }

  const Arena& arena() const { return arena_; }
  const Extensions& extensions() const { return extensions_; }
  Expectations& expectations() { return expectations_; }
  const TableOptions& options() const { return options_; }

  /// What to add to the clock to get the wall's (time stamps); from TableOptions until set again.
  void set_wall_offset(Duration offset) {
    wall_offset_.store(offset.count(), std::memory_order_relaxed);
  }
  Duration wall(Time now) const {
    return now.time_since_epoch() + Duration(wall_offset_.load(std::memory_order_relaxed));
  }

  /// A consistent copy of a published, living entry. Requires: an online epoch.
  std::optional<Snapshot> snapshot(std::uint32_t number, Time now) const;
  /// Which entry and direction a tuple (its zone included) belongs to. Requires: an online epoch.
  std::optional<Found> find(const Tuple& tuple, Time now) const;
  /// CTA_ID of an entry's present life.
  std::uint32_t id_of(std::uint32_t number, std::uint32_t generation) const;
  /// The tag under which the index keeps a tuple.
  std::uint32_t tag(const Tuple& tuple) const;

  StatisticsSnapshot statistics(std::uint32_t worker) const;

 private:
  friend class Tracker;
  struct Memory {
    Arena entries;
    Extensions extensions;
    Mapping expectations;
    Mapping index;
  };
  Table(const TableOptions& options, Memory memory);
  void recover_extensions();
  bool insert(std::uint32_t number);
  Snapshot copy(std::uint32_t number) const;

  void tell_freed(const Tuple& reply) {
    if (reply_watch_ != nullptr) reply_watch_->freed(reply);
  }

  TableOptions options_;
  ReplyWatch* reply_watch_ = nullptr;
  Recovery recovery_;
  Arena arena_;
  Extensions extensions_;
  Expectations expectations_;
  Index index_;
  Epochs epochs_;
  Limits limits_;
  alignas(64) std::atomic<std::uint32_t> count_{0};
  alignas(64) std::atomic<std::uint32_t> wanted_{0};
  Sysctl sysctl_;
  TimeoutPolicies policies_;
  GreKeymap gre_keymap_;
  std::atomic<Duration::rep> wall_offset_;
  Waker waker_ = nullptr;
  void* waker_context_ = nullptr;
  std::vector<std::unique_ptr<Tracker>> trackers_;
  std::uint32_t listened_to_ = 0;  // What set_wanted_events() was told; the control thread's.
};

}  // namespace weir::conntrack
