#pragma once

#include <cstdint>
#include <vector>

#include "base/clock.h"

namespace weir::daemon {

/// Decides when the service manager is told that weir is alive: when the control thread is here to
/// ask, and every worker has taken a round since it was told the last time. A worker or a control
/// thread that hangs lets the manager's time run out.
class Watchdog {
 public:
  /// `limit` is the manager's; zero: nobody is ever told.
  explicit Watchdog(Duration limit) : period_(limit / 3) {}

  /// Whether to tell it now. `rounds` are those of all workers so far.
  bool is_alive(Time now, const std::vector<std::uint64_t>& rounds);

 private:
  const Duration period_;
  Time next_{};
  std::vector<std::uint64_t> last_;
};

}  // namespace weir::daemon
