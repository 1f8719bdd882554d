#pragma once

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

namespace weir::bench {

/// Runs `body(lane)` on `lanes` threads at once, which begin together; each returns how many
/// packets it has handled. Returns packets in all and the wall time of the slowest.
struct LaneResult {
  std::uint64_t packets = 0;
  double nanoseconds = 0;
  /// Wall time of one core for one packet.
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
    const auto begin = std::chrono::steady_clock::now();
    packets[lane] = body(lane);
    times[lane] =
        std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - begin).count();
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
