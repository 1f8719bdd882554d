// Counting connections by source and by zone, only while there is a limit.
//
// Sources lie in a hash table of fixed size under a key that nobody outside knows: a record exists
// only while its source has connections, so there are never more of them than connections, and a
// flood from a million addresses fills it no further than the table of connections is filled. Every
// bucket has its own lock, held for a look along its chain (one record on average, at most). A zone
// is a plain number.
//
// Without limits nothing is counted, and a worker pays one branch for each connection's begin and
// end. So when limits are set, connections are there that were never counted. Each entry says in
// `counted` whether it is: by the number of the era, which is what lies between two times without
// counting. The control thread begins an era so:
//
//   arming    ends are watched; wait until no worker can still let one pass unnoticed
//             (base/epoch.h). Only then may anything be counted.
//   sweeping  new connections are counted, and each published one that isn't yet; a
//             compare-and-exchange on `counted` settles who has counted it when its worker does the
//             same, or that it has ended.
//   counting
//
// and ends it (another prefix, or no limit any more) by hiding the number and waiting likewise
// (draining), after which nobody looks at the numbers, and they go. An entry that was begun before
// the era and is published within it (its packet waited for a tool) is counted when it is
// published. While an era is being swept, limits hold by what has been counted so far.
//
// After a restart nothing is counted yet, and the first era's sweep counts what was recovered.

#include "conntrack/limits.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <limits>
#include <mutex>
#include <utility>

#include "base/siphash.h"

namespace weir::conntrack {
namespace {

constexpr std::uint8_t kEnded = 255;  // In Entry::counted; no era has this number.
constexpr std::uint32_t kAny = std::numeric_limits<std::uint32_t>::max();
constexpr std::size_t kZones = 65536;
constexpr std::uint32_t kSweptAtOnce = 16384;
// Beyond the entries: connections that are admitted but have no entry yet, one a worker, and the
// sweep's own.
constexpr std::uint32_t kSpare = 512;

std::uint32_t or_any(std::uint32_t limit) { return limit == 0 ? kAny : limit; }

}  // namespace

// The table of sources.

Limits::Key Limits::key_of(const Tuple& original) const {
  Key key{.prefix = original.src, .zone = original.zone, .family = original.family};
  unsigned left = original.family == wire::Family::ip ? ip_prefix_ : ip6_prefix_;
  for (std::uint8_t& byte : key.prefix.bytes) {
    const unsigned kept = std::min(left, 8u);
    byte = static_cast<std::uint8_t>(byte & (0xff00u >> kept));
    left -= kept;
  }
  return key;
}

Limits::Bucket& Limits::bucket_of(const Key& key) const {
  std::array<std::uint64_t, 3> words{};
  static_assert(sizeof(Key) == 20 && std::has_unique_object_representations_v<Key>);
  std::memcpy(words.data(), &key, sizeof key);
  return buckets_[siphash13(arena_.key(), words) & bucket_mask_];
}

/// False, and nothing counted, when the source has `most` already.
bool Limits::add(const Key& key, std::uint32_t most) {
  Bucket& bucket = bucket_of(key);
  const std::lock_guard lock(bucket.lock);
  for (std::uint32_t number = bucket.first; number != 0; number = records_[number].next) {
    if (records_[number].key != key) continue;
    if (records_[number].connections >= most) return false;
    ++records_[number].connections;
    return true;
  }
  const std::uint32_t number = take();
  records_[number] = {.key = key, .connections = 1, .next = bucket.first};
  bucket.first = number;
  return true;
}

/// Requires: add() has counted it.
void Limits::subtract(const Key& key) {
  Bucket& bucket = bucket_of(key);
  const std::lock_guard lock(bucket.lock);
  std::uint32_t* link = &bucket.first;
  while (records_[*link].key != key) link = &records_[*link].next;
  const std::uint32_t number = *link;
  if (--records_[number].connections != 0) return;
  *link = records_[number].next;
  give(number);
}

/// There is always one: a record has a connection, and there are more records than entries.
std::uint32_t Limits::take() {
  const std::lock_guard lock(pool_lock_);
  in_use_.fetch_add(1, std::memory_order_relaxed);
  if (free_ == 0) return used_end_++;
  const std::uint32_t number = free_;
  free_ = records_[number].next;
  return number;
}

void Limits::give(std::uint32_t number) {
  const std::lock_guard lock(pool_lock_);
  in_use_.fetch_sub(1, std::memory_order_relaxed);
  records_[number].next = free_;
  free_ = number;
}

std::uint32_t Limits::sources() const { return in_use_.load(std::memory_order_relaxed); }

// Workers.

Limits::Admission Limits::admit(const Tuple& original) {
  std::atomic<std::uint32_t>& zone = zones_[original.zone];
  if (zone.fetch_add(1, std::memory_order_relaxed) >= per_zone_.load(std::memory_order_relaxed)) {
    zone.fetch_sub(1, std::memory_order_relaxed);
    return Admission::zone_is_full;
  }
  if (!add(key_of(original), per_source_.load(std::memory_order_relaxed))) {
    zone.fetch_sub(1, std::memory_order_relaxed);
    return Admission::source_is_full;
  }
  return Admission::admitted;
}

void Limits::withdraw(const Tuple& original) {
  zones_[original.zone].fetch_sub(1, std::memory_order_relaxed);
  subtract(key_of(original));
}

void Limits::count_in(Entry& entry, std::uint8_t era) {
  std::uint8_t counted = entry.counted.load(std::memory_order_relaxed);
  if (counted == era || counted == kEnded) return;
  zones_[entry.original.zone].fetch_add(1, std::memory_order_relaxed);
  add(key_of(entry.original), kAny);
  if (!entry.counted.compare_exchange_strong(counted, era, std::memory_order_acq_rel)) {
    withdraw(entry.original);
  }
}

void Limits::end_in(Entry& entry, std::uint8_t era) {
  if (entry.counted.exchange(kEnded, std::memory_order_acq_rel) == era) withdraw(entry.original);
}

// The control thread.

Result<void> Limits::configure(const LimitSettings& settings) {
  if (settings.ip_prefix > 32 || settings.ip6_prefix > 128) {
    return std::unexpected(Error{EINVAL, "an address has no prefix of that length"});
  }
  if (settings.is_limiting() && reserved_.data() == nullptr) {
    if (auto reserved = reserve(); !reserved) return reserved;
  }
  wanted_ = settings;
  return {};
}

/// Takes nothing yet: pages come where they are touched.
Result<void> Limits::reserve() {
  const std::size_t records = arena_.capacity() + kSpare;
  auto memory =
      Mapping::anonymous(kZones * sizeof *zones_ + std::bit_ceil(records) * sizeof *buckets_ +
                         records * sizeof *records_);
  if (!memory) return std::unexpected(memory.error());
  reserved_ = std::move(*memory);
  return {};
}

/// Requires: no worker counts.
void Limits::begin_era() {
  const std::size_t records = arena_.capacity() + kSpare;
  const std::size_t buckets = std::bit_ceil(records);
  memory_ = std::exchange(reserved_, Mapping());
  zones_ = reinterpret_cast<std::atomic<std::uint32_t>*>(memory_.data());
  buckets_ = reinterpret_cast<Bucket*>(zones_ + kZones);
  records_ = reinterpret_cast<Source*>(buckets_ + buckets) - 1;
  bucket_mask_ = static_cast<std::uint32_t>(buckets - 1);
  free_ = 0;
  used_end_ = 1;
  ip_prefix_ = wanted_.ip_prefix;
  ip6_prefix_ = wanted_.ip6_prefix;
  next_to_sweep_ = 1;
  last_era_ = last_era_ + 1 == kEnded ? 1 : last_era_ + 1;
  watched_.store(last_era_, std::memory_order_release);
}

/// Counts the next entries. True when all have been looked at.
bool Limits::sweep(std::size_t participant) {
  const EpochGuard guard(epochs_, participant);
  const std::uint32_t end = arena_.used_end();
  const std::uint32_t stop = std::min(end, next_to_sweep_ + kSweptAtOnce);
  for (; next_to_sweep_ < stop; ++next_to_sweep_) {
    Entry& entry = arena_[next_to_sweep_];
    if (entry.committed.load(std::memory_order_acquire) != 0) count(entry);
  }
  return next_to_sweep_ >= end;
}

void Limits::tend(std::size_t participant) {
  if (!has_started_) return;
  per_source_.store(or_any(wanted_.per_source), std::memory_order_relaxed);
  per_zone_.store(or_any(wanted_.per_zone), std::memory_order_relaxed);
  const bool is_this_era =
      wanted_.is_limiting() && wanted_.ip_prefix == ip_prefix_ && wanted_.ip6_prefix == ip6_prefix_;
  switch (phase_) {
    case Phase::off:
      if (!wanted_.is_limiting()) return;
      begin_era();
      tag_ = epochs_.advance();
      phase_ = Phase::arming;
      return;
    case Phase::arming:
      if (!epochs_.reached(tag_)) return;
      era_.store(last_era_, std::memory_order_release);
      phase_ = Phase::sweeping;
      return;
    case Phase::sweeping:
      if (sweep(participant)) phase_ = Phase::counting;
      return;
    case Phase::counting:
      if (is_this_era) return;
      era_.store(0, std::memory_order_relaxed);
      watched_.store(0, std::memory_order_relaxed);
      tag_ = epochs_.advance();
      phase_ = Phase::draining;
      return;
    case Phase::draining:
      if (!epochs_.reached(tag_)) return;
      memory_ = {};
      in_use_.store(0, std::memory_order_relaxed);
      phase_ = Phase::off;
      return;
  }
}

}  // namespace weir::conntrack
