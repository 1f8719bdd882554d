#pragma once

#include <chrono>
#include <cstdint>

namespace weir {

using Duration = std::chrono::nanoseconds;

/// weir's clock for everything on the packet's path. It never reads the time itself: the caller
/// passes it in, once a batch. `weir run` feeds it from CLOCK_BOOTTIME (monotonic, goes on in
/// suspend, equal across a restart of the engine), replay from the capture's time stamps, tests
/// from a number.
struct Clock {
  using rep = Duration::rep;
  using period = Duration::period;
  using duration = Duration;
  using time_point = std::chrono::time_point<Clock>;
  static constexpr bool is_steady = true;
};

/// A point on that clock; zero means "never" where a field says so.
using Time = Clock::time_point;

/// CLOCK_BOOTTIME now.
Time boot_time();

/// CLOCK_REALTIME now, nanoseconds since 1970, for time stamps that people read.
Duration wall_time();

}  // namespace weir
