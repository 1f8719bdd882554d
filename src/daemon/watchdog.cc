#include "daemon/watchdog.h"

namespace weir::daemon {

bool Watchdog::is_alive(Time now, const std::vector<std::uint64_t>& rounds) {
  if (period_ == Duration{} || now < next_) return false;
  for (std::size_t i = 0; i < last_.size(); ++i) {
    if (rounds[i] == last_[i]) return false;
  }
  last_ = rounds;
  next_ = now + period_;
  return true;
}

}  // namespace weir::daemon
