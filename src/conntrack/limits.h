#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "base/epoch.h"
#include "base/error.h"
#include "base/mapping.h"
#include "base/spin.h"
#include "conntrack/arena.h"
#include "conntrack/entry.h"
#include "conntrack/tuple.h"

namespace weir::conntrack {

/// How many connections may be there at a time. Zero: any number.
struct LimitSettings {
  std::uint32_t per_source = 0;  // Of one source within one zone,
  std::uint32_t per_zone = 0;    // and of one zone in all.
  // What one source is: the addresses that have so many bits in common.
  std::uint8_t ip_prefix = 32;
  std::uint8_t ip6_prefix = 64;

  bool is_limiting() const { return per_source != 0 || per_zone != 0; }
  bool operator==(const LimitSettings&) const = default;
};

/// Counts the connections of each source and each zone, and says which limit a new one would
/// exceed. A connection is of the source address and the zone of its original tuple; it counts from
/// its first packet to its end, unconfirmed ones too. Connections that tools make are counted but
/// never refused. limits.cc says how it works.
class Limits {
 public:
  Limits(const Arena& arena, Epochs& epochs) : arena_(arena), epochs_(epochs) {}

  // For the control thread.

  /// The entries are this engine's now; before, tend() does nothing.
  void start() { has_started_ = true; }
  /// What holds from the next tend() on. Connections beyond a limit stay; new ones wait until there
  /// are fewer. Errors: EINVAL for a prefix that is too long; no memory.
  Result<void> configure(const LimitSettings& settings);
  const LimitSettings& settings() const { return wanted_; }
  /// Standing work, every few milliseconds: counts what was there before there were limits, a
  /// bounded number at a time. `participant` is this thread's in the epochs.
  void tend(std::size_t participant);
  /// Whether every connection is counted.
  bool is_complete() const { return phase_ == Phase::counting; }
  /// Sources that have connections now; zero without limits.
  std::uint32_t sources() const;

  // For workers.

  /// Nonzero while connections are counted: what an entry that is counted has in Entry::counted.
  std::uint8_t era() const { return era_.load(std::memory_order_acquire); }
  enum class Admission : std::uint8_t { admitted, source_is_full, zone_is_full };
  /// Counts a new connection if it may begin. Whoever then makes no entry of it calls withdraw();
  /// else the entry has era() in `counted`. Requires: era() isn't zero.
  [[nodiscard]] Admission admit(const Tuple& original);
  void withdraw(const Tuple& original);
  /// Counts an entry that is becoming visible, if it isn't yet.
  void count(Entry& entry) {
    if (const std::uint8_t current = era(); current != 0) count_in(entry, current);
  }
  /// An entry has ended. Requires: once in a life.
  void end(Entry& entry) {
    if (const std::uint8_t current = watched_.load(std::memory_order_acquire); current != 0)
      end_in(entry, current);
  }

 private:
  enum class Phase : std::uint8_t { off, arming, sweeping, counting, draining };

  struct Key {
    wire::Address prefix;
    std::uint16_t zone = 0;
    wire::Family family = wire::Family::none;
    std::uint8_t unused = 0;
    bool operator==(const Key&) const = default;
  };
  struct Source {
    Key key;
    std::uint32_t connections = 0;
    std::uint32_t next = 0;  // In its bucket, or among the free ones. Zero: the last.
  };
  struct Bucket {
    SpinLock lock;
    std::uint32_t first = 0;
  };

  Key key_of(const Tuple& original) const;
  Bucket& bucket_of(const Key& key) const;
  void count_in(Entry& entry, std::uint8_t era);
  void end_in(Entry& entry, std::uint8_t era);
  bool add(const Key& key, std::uint32_t most);
  void subtract(const Key& key);
  std::uint32_t take();
  void give(std::uint32_t number);

  Result<void> reserve();
  void begin_era();
  bool sweep(std::size_t participant);

  const Arena& arena_;
  Epochs& epochs_;
  std::atomic<std::uint8_t> watched_{0};  // The era whose ends are noticed,
  std::atomic<std::uint8_t> era_{0};      // and in which begins are counted.
  // Zero is written as the greatest number here.
  std::atomic<std::uint32_t> per_source_{0};
  std::atomic<std::uint32_t> per_zone_{0};

  // Changed while no worker counts, only.
  std::uint8_t ip_prefix_ = 32;
  std::uint8_t ip6_prefix_ = 64;
  std::uint32_t bucket_mask_ = 0;
  Mapping memory_;
  std::atomic<std::uint32_t>* zones_ = nullptr;  // By zone.
  Bucket* buckets_ = nullptr;
  Source* records_ = nullptr;  // Numbered from 1 on.

  SpinLock pool_lock_;  // Guards who writes the next three; taken within a bucket's.
  std::uint32_t free_ = 0;
  std::uint32_t used_end_ = 1;
  std::atomic<std::uint32_t> in_use_{0};

  // The control thread's.
  LimitSettings wanted_;
  bool has_started_ = false;
  Phase phase_ = Phase::off;
  Mapping reserved_;  // For the next era.
  std::uint8_t last_era_ = 0;
  std::uint64_t tag_ = 0;  // What arming and draining wait for.
  std::uint32_t next_to_sweep_ = 1;
};

}  // namespace weir::conntrack
