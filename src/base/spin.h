#pragma once

#include <sched.h>

#include <atomic>
#include <cstdint>

namespace weir {

/// A lock of one byte for a few dozen instructions; no owner, not recursive. Lockable.
class SpinLock {
 public:
  bool try_lock() {
    return locked_.load(std::memory_order_relaxed) == 0 &&
           locked_.exchange(1, std::memory_order_acquire) == 0;
  }
  void lock() {
    // A holder that was preempted needs our processor: yield after a while.
    for (unsigned spins = 0; !try_lock(); ++spins) {
      if (spins >= 128) sched_yield();
    }
  }
  void unlock() { locked_.store(0, std::memory_order_release); }
  /// For recovery only: forgets a holder that no longer exists.
  void reset() { locked_.store(0, std::memory_order_relaxed); }

 private:
  std::atomic<std::uint8_t> locked_{0};
};
static_assert(sizeof(SpinLock) == 1);

}  // namespace weir
