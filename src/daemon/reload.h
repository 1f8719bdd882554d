#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "daemon/settings.h"

namespace weir::daemon {

/// What a reload has to do to get from the settings in force to those that were read again.
struct Changes {
  /// What will be in force then: the new settings but for what needs a restart.
  Settings settings;
  /// A line for each key that keeps its old value: "workers = 1 (2 needs a restart)".
  std::vector<std::string> kept;
  /// A line for each key that changes: "log.level = \"debug\"".
  std::vector<std::string> changed;
  std::vector<PortSettings> new_ports;    // A port that changes is gone and new.
  std::vector<std::string> gone_ports;    // By name.
  std::vector<SysctlSetting> sysctls;     // To set.
  std::vector<std::string> gone_sysctls;  // To give their default back.
};

Changes compare(const Settings& now, const Settings& wanted);

}  // namespace weir::daemon
