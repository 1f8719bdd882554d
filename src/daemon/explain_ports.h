#pragma once

#include <vector>

#include "daemon/settings.h"

namespace weir::daemon {

/// `weir run --explain-ports`: prints how each port would be run and why. Returns the exit code.
int explain_ports(const std::vector<PortSettings>& ports);

}  // namespace weir::daemon
