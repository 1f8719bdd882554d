#include "conntrack/policy.h"

#include <algorithm>

namespace weir::conntrack {

TimeoutPolicies::TimeoutPolicies(Epochs& epochs)
    : epochs_(epochs), slots_(std::make_unique<std::array<Slot, kMost + 1>>()) {}

void TimeoutPolicies::set(std::uint16_t number, const TimeoutList& timeouts) {
  (*slots_)[number].timeouts = timeouts;
}

void TimeoutPolicies::remove(std::uint16_t number) {
  (*slots_)[number].is_present.store(false, std::memory_order_release);
  removed_.push_back({number, epochs_.advance()});
}

/// Removed numbers that nobody names become free.
void TimeoutPolicies::reuse(const std::vector<bool>& named) {
  std::erase_if(removed_, [&](const Removed& removed) {
    if (named[removed.number] || !epochs_.reached(removed.tag)) return false;
    free_.push_back(removed.number);
    return true;
  });
}

std::uint16_t TimeoutPolicies::take(const TimeoutList& timeouts) {
  std::uint16_t number = 0;
  if (used_ < kMost) {
    number = ++used_;
  } else if (!free_.empty()) {
    number = free_.back();
    free_.pop_back();
  } else {
    return 0;
  }
  set(number, timeouts);
  (*slots_)[number].is_present.store(true, std::memory_order_release);
  return number;
}

}  // namespace weir::conntrack
