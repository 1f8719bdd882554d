#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace weir {

/// When may memory be used again that others could still be reading?
///
/// Every thread that reads shared structures without locks is a participant. While it is online it
/// may hold numbers and pointers that it found there; at a quiet point (between two batches) it
/// says that it holds none. A thread that unlinks something calls advance() and keeps the answer as
/// a tag: once every online participant has been quiet since, reached(tag) is true and nobody can
/// still see what was unlinked. Sleeping workers and control threads are offline and hold up
/// nobody.
///
/// Synchronisation: no fences, so that ThreadSanitizer understands it. A participant that is seen
/// offline is ordered by the sequentially consistent store and load in online(); one that was quiet
/// by its reading the advanced epoch.
class Epochs {
 public:
  explicit Epochs(std::size_t participants)
      : count_(participants), slots_(new Slot[participants]) {}

  std::size_t participants() const { return count_; }

  void online(std::size_t participant) {
    std::atomic<std::uint64_t>& slot = slots_[participant].epoch;
    slot.store(1, std::memory_order_seq_cst);  // Older than any tag: holds everything up.
    slot.store(global_.load(std::memory_order_seq_cst), std::memory_order_release);
  }
  void offline(std::size_t participant) {
    slots_[participant].epoch.store(kOffline, std::memory_order_release);
  }
  /// Requires: online, and nothing found before is used after.
  void quiet(std::size_t participant) {
    std::atomic<std::uint64_t>& slot = slots_[participant].epoch;
    const std::uint64_t now = global_.load(std::memory_order_acquire);
    if (slot.load(std::memory_order_relaxed) != now) slot.store(now, std::memory_order_release);
  }

  /// After unlinking: the tag that reached() answers for.
  std::uint64_t advance() { return global_.fetch_add(1, std::memory_order_seq_cst) + 1; }
  bool reached(std::uint64_t tag) const {
    for (std::size_t i = 0; i < count_; ++i) {
      const std::uint64_t seen = slots_[i].epoch.load(std::memory_order_seq_cst);
      if (seen != kOffline && seen < tag) return false;
    }
    return true;
  }

 private:
  static constexpr std::uint64_t kOffline = 0;
  struct alignas(64) Slot {
    std::atomic<std::uint64_t> epoch{kOffline};
  };

  alignas(64) std::atomic<std::uint64_t> global_{1};
  const std::size_t count_;
  const std::unique_ptr<Slot[]> slots_;
};

/// Online for a scope: what a control thread holds around one bounded step.
class EpochGuard {
 public:
  EpochGuard(Epochs& epochs, std::size_t participant) : epochs_(epochs), participant_(participant) {
    epochs_.online(participant_);
  }
  ~EpochGuard() { epochs_.offline(participant_); }
  EpochGuard(const EpochGuard&) = delete;
  EpochGuard& operator=(const EpochGuard&) = delete;

 private:
  Epochs& epochs_;
  const std::size_t participant_;
};

}  // namespace weir
