#pragma once

#include <cstdint>
#include <string>

#include "base/error.h"
#include "io/choose.h"

namespace weir::io {

/// What ethtool says of a device, by `control`, any socket of the device's network namespace.
struct EthtoolFacts {
  std::string driver;
  std::uint32_t rx_queues = 1;
  Offloads offloads;
};
Result<EthtoolFacts> read_ethtool(int control, const std::string& device);

/// What the names of ethtool's features mean for us; for tests.
void note_feature(const std::string& name, Offloads& offloads);

}  // namespace weir::io
