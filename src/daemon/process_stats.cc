#include "daemon/process_stats.h"

#include <fcntl.h>
#include <time.h>

#include <cstdint>
#include <cstdio>

namespace weir::daemon {
namespace {

/// The second number of statm is what is resident, in pages.
std::uint64_t resident_bytes(int statm) {
  char text[128] = {};
  if (pread(statm, text, sizeof text - 1, 0) <= 0) return 0;
  unsigned long long size = 0, resident = 0;
  if (std::sscanf(text, "%llu %llu", &size, &resident) != 2) return 0;
  return resident * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
}

std::uint64_t cpu_ns() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<std::uint64_t>(used.tv_sec) * 1'000'000'000 +
         static_cast<std::uint64_t>(used.tv_nsec);
}

}  // namespace

ProcessStats::ProcessStats()
    : statm_(open("/proc/self/statm", O_RDONLY | O_CLOEXEC)), started_(wall_time()) {}

void ProcessStats::add_to(std::vector<control::Stat>& stats) const {
  stats.push_back({"process.resident_bytes", resident_bytes(statm_.get())});
  stats.push_back({"process.cpu_ns", cpu_ns()});
  stats.push_back({"process.start_ns", static_cast<std::uint64_t>(started_.count())});
}

}  // namespace weir::daemon
