#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/epoch.h"
#include "conntrack/sysctl.h"

namespace weir::conntrack {

/// The timeouts of all policies: of nfnetlink_cttimeout's objects and of nf_tables' `ct timeout`
/// objects. A connection names its policy by number (Extension::timeout_policy), and while the
/// policy is there its timeouts hold for the connection instead of the knobs'.
///
/// The control thread makes, changes and removes policies; workers look. A removed policy is gone
/// at once for every connection that names it. Its number is used again only when no connection
/// does and every worker has been quiet since.
class TimeoutPolicies {
 public:
  static constexpr std::uint16_t kMost = 4095;

  explicit TimeoutPolicies(Epochs& epochs);

  /// For workers. Null when the policy is not there (any more): the knobs hold.
  const TimeoutList* find(std::uint16_t number) const {
    const Slot& slot = (*slots_)[number];
    return slot.is_present.load(std::memory_order_acquire) ? &slot.timeouts : nullptr;
  }

  /// A new policy's number; zero when there are too many. `named()` returns which numbers
  /// connections still name, by number: it is asked only when there is no fresh number left.
  template <typename Named>
  std::uint16_t add(const TimeoutList& timeouts, Named&& named) {
    if (used_ == kMost) reuse(named());
    return take(timeouts);
  }
  /// Changes a policy in place, for the connections that have it too.
  void set(std::uint16_t number, const TimeoutList& timeouts);
  void remove(std::uint16_t number);

 private:
  struct Slot {
    TimeoutList timeouts;
    std::atomic<bool> is_present{false};
  };
  struct Removed {
    std::uint16_t number = 0;
    std::uint64_t tag = 0;  // The epoch in which that was.
  };

  void reuse(const std::vector<bool>& named);
  std::uint16_t take(const TimeoutList& timeouts);

  Epochs& epochs_;
  std::unique_ptr<std::array<Slot, kMost + 1>> slots_;  // [0] is never present.
  std::uint16_t used_ = 0;                              // The highest number that ever was.
  std::vector<std::uint16_t> free_;                     // Of those below, ready for use.
  std::vector<Removed> removed_;                        // Not known to be.
};

}  // namespace weir::conntrack
