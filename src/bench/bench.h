#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/error.h"
#include "wire/address.h"

namespace weir::bench {

/// What is measured, and over what.
struct Task {
  std::string what;  // "conntrack", "path", "create" or "snat"
  std::uint32_t flows = 16384;
  std::uint32_t batch = 64;
  std::uint32_t threads = 1;
  std::uint8_t protocol = 17;
  wire::Family family = wire::Family::ip;
  std::uint32_t runs = 5;
  double seconds = 0.5;  // What one run lasts about; `create` lasts as long as its flows do.
};

/// One benchmark's answer. Nanoseconds are time of one core, generator subtracted.
struct Report {
  std::vector<double> runs_ns;  // Per packet, each run.
  double generator_ns = 0;      // Per packet, already subtracted.
  std::uint64_t packets = 0;    // Of all runs.
  double connection_bytes = 0;  // Entries and index, for each connection at the end.
  bool is_verified = false;
  std::string problem;  // What the verification found, when it isn't.

  double median_ns() const;
};

/// The established path of connection tracking alone: header check, look-up, update.
Result<Report> bench_conntrack(const Task& task);
/// New connections: header check, look-up, entry, publishing.
Result<Report> bench_create(const Task& task);
/// The whole path: a ruleset loaded by nft, SNAT, route, both directions of established flows.
Result<Report> bench_path(const Task& task);

/// New connections through the whole path, each given a source of its own by SNAT.
Result<Report> bench_snat(const Task& task);

/// `weir bench`. Returns the exit code.
int bench_main(int argc, char** argv);

}  // namespace weir::bench
