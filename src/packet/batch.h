#pragma once

#include <array>
#include <cstddef>

#include "base/clock.h"
#include "packet/packet.h"

namespace weir::packet {

/// The most packets that a stage sees at once.
inline constexpr std::size_t kBatchMax = 64;

/// Up to 64 packets that go through the stages together so that their memory accesses overlap.
/// Results never depend on how packets are batched. Does not own: whoever removes a packet hands it
/// on or releases it to its pool.
class Batch {
 public:
  Time now{};  // The one clock read of this batch.

  /// A limit below kBatchMax is for tests that show that batching changes nothing.
  explicit Batch(std::size_t limit = kBatchMax) : limit_(limit) {}

  bool add(Packet* packet) {
    if (is_full()) return false;
    packets_[count_++] = packet;
    return true;
  }
  std::size_t size() const { return count_; }
  bool is_empty() const { return count_ == 0; }
  bool is_full() const { return count_ == limit_; }
  std::size_t room() const { return limit_ - count_; }
  void clear() { count_ = 0; }
  Packet*& operator[](std::size_t i) { return packets_[i]; }
  Packet* operator[](std::size_t i) const { return packets_[i]; }
  Packet** begin() { return packets_.data(); }
  Packet** end() { return packets_.data() + count_; }
  /// Drops the tail, e.g. after the packets that go on have been moved to the front.
  void shrink_to(std::size_t count) { count_ = count; }

 private:
  std::array<Packet*, kBatchMax> packets_;
  std::size_t count_ = 0;
  std::size_t limit_;
};

}  // namespace weir::packet
