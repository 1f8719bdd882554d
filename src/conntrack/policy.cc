#include "conntrack/policy.h"

#include <algorithm>

#include "conntrack/tracker.h"

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

bool Tracker::set_timeout_policy(std::uint32_t number, std::uint16_t policy, Duration fresh) {
  Extension* const extension = extend(number);
  if (extension == nullptr) return false;
  extension->timeout_policy = policy;
  Hot& hot = arena_[number].hot;
  hot.status |= status::kNeedsExtension;
  hot.deadline = Time(fresh);  // Relative until it is confirmed.
  return true;
}

}  // namespace weir::conntrack
