#pragma once

#include <time.h>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace weir::bench {

/// What this thread has worked so far, in nanoseconds. A lane never waits, so on a machine of its
/// own that is wall time; on a shared one it leaves out what others took.
inline double thread_nanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

/// Runs `body(lane)` on `lanes` threads at once, which begin together; each returns how many
/// packets it has handled. Returns packets in all and the processor time of the slowest.
struct LaneResult {
  std::uint64_t packets = 0;
  double nanoseconds = 0;
  /// Time of one core for one packet.
  double ns_per_packet(std::uint32_t lanes) const {
    return packets == 0 ? 0 : nanoseconds * lanes / static_cast<double>(packets);
  }
};

template <typename Body>
LaneResult run_lanes(std::uint32_t lanes, Body&& body) {
  std::vector<std::uint64_t> packets(lanes);
  std::vector<double> times(lanes);
  std::barrier start(static_cast<std::ptrdiff_t>(lanes));
  auto run_one = [&](std::uint32_t lane) {
    start.arrive_and_wait();
    const double begin = thread_nanoseconds();
    packets[lane] = body(lane);
    times[lane] = thread_nanoseconds() - begin;
  };
  std::vector<std::thread> threads;
  for (std::uint32_t lane = 1; lane < lanes; ++lane) threads.emplace_back(run_one, lane);
  run_one(0);
  for (std::thread& thread : threads) thread.join();

  LaneResult result;
  for (std::uint32_t lane = 0; lane < lanes; ++lane) {
    result.packets += packets[lane];
    result.nanoseconds = std::max(result.nanoseconds, times[lane]);
  }
  return result;
}

}  // namespace weir::bench
