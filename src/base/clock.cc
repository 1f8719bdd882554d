#include "base/clock.h"

#include <ctime>

namespace weir {
namespace {

Duration read_clock(clockid_t which) {
  timespec now{};
  clock_gettime(which, &now);
  return std::chrono::seconds(now.tv_sec) + std::chrono::nanoseconds(now.tv_nsec);
}

}  // namespace

Time boot_time() { return Time(read_clock(CLOCK_BOOTTIME)); }

Duration wall_time() { return read_clock(CLOCK_REALTIME); }

}  // namespace weir
