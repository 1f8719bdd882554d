#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "base/clock.h"

namespace weir::daemon {

/// How workers show the tc programs that the engine forwards (io::make_heartbeat). Only with
/// `fail_policy` open does anybody look: without a beat for a second the kernel gets the packets.
/// Copied freely; the map stays with the Host.
class Heartbeat {
 public:
  /// Two beats may be as far apart, whether there are packets or not.
  static constexpr Duration kPace = std::chrono::milliseconds(200);

  Heartbeat() = default;  // Beats nowhere.
  explicit Heartbeat(std::uint64_t* at) : at_(at) {}

  bool is_heard() const { return at_ != nullptr; }
  /// From any worker, each round.
  void beat(Time now) const {
    if (at_ == nullptr) return;
    std::atomic_ref<std::uint64_t>(*at_).store(
        static_cast<std::uint64_t>(now.time_since_epoch().count()), std::memory_order_relaxed);
  }

 private:
  std::uint64_t* at_ = nullptr;
};

}  // namespace weir::daemon
