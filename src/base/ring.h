#pragma once

#include <atomic>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace weir {

/// A bounded queue of plain records between one producer and one consumer thread, without locks.
template <typename T>
class Ring {
 public:
  /// `capacity` is rounded up to a power of two.
  explicit Ring(std::size_t capacity)
      : mask_(std::bit_ceil(capacity) - 1), records_(new T[mask_ + 1]) {}

  /// Producer: whether the next push finds room. Once true it stays true until a push.
  bool has_room() const {
    return head_.load(std::memory_order_relaxed) - tail_.load(std::memory_order_acquire) <= mask_;
  }
  /// Producer. Requires has_room(). The record to fill in, then publish().
  T& next() { return records_[head_.load(std::memory_order_relaxed) & mask_]; }
  void publish() {
    head_.store(head_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }

  /// Consumer: the oldest record, null when there is none; valid until pop().
  const T* front() const {
    const std::uint64_t tail = tail_.load(std::memory_order_relaxed);
    if (head_.load(std::memory_order_acquire) == tail) return nullptr;
    return &records_[tail & mask_];
  }
  void pop() { tail_.store(tail_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }

 private:
  alignas(64) std::atomic<std::uint64_t> head_{0};
  alignas(64) std::atomic<std::uint64_t> tail_{0};
  alignas(64) const std::size_t mask_;
  const std::unique_ptr<T[]> records_;
};

}  // namespace weir
