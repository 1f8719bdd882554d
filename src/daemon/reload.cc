#include "daemon/reload.h"

#include <fmt/format.h>

#include <algorithm>

#include "daemon/settings_keys.h"

namespace weir::daemon {
namespace {

bool is_same(const PortSettings& one, const PortSettings& other) {
  if (one.name != other.name) return false;
  const auto keys = port_keys();
  return std::all_of(keys.begin(), keys.end(),
                     [&](const auto& key) { return key.show(one) == key.show(other); });
}

bool has(const std::vector<PortSettings>& ports, const PortSettings& wanted) {
  return std::any_of(ports.begin(), ports.end(),
                     [&](const PortSettings& port) { return is_same(port, wanted); });
}

bool sets(const std::vector<SysctlSetting>& sysctls, const std::string& name) {
  return std::any_of(sysctls.begin(), sysctls.end(),
                     [&](const SysctlSetting& each) { return each.name == name; });
}

void compare_keys(const Settings& now, const Settings& wanted, Changes& changes) {
  for (const auto& key : setting_keys()) {
    const std::string before = key.show(now), after = key.show(wanted);
    if (before == after) continue;
    if (key.applies == Applies::at_reload) {
      changes.changed.push_back(fmt::format("{} = {}", key.name, after));
    } else {
      changes.kept.push_back(fmt::format("{} = {} ({} needs a restart)", key.name, before, after));
      key.copy(now, changes.settings);
    }
  }
}

}  // namespace

Changes compare(const Settings& now, const Settings& wanted) {
  Changes changes{.settings = wanted,
                  .kept = {},
                  .changed = {},
                  .new_ports = {},
                  .gone_ports = {},
                  .sysctls = wanted.sysctls,
                  .gone_sysctls = {}};
  compare_keys(now, wanted, changes);
  for (const PortSettings& port : now.ports) {
    if (!has(wanted.ports, port)) changes.gone_ports.push_back(port.name);
  }
  for (const PortSettings& port : wanted.ports) {
    if (!has(now.ports, port)) changes.new_ports.push_back(port);
  }
  for (const SysctlSetting& sysctl : now.sysctls) {
    if (!sets(wanted.sysctls, sysctl.name)) changes.gone_sysctls.push_back(sysctl.name);
  }
  return changes;
}

}  // namespace weir::daemon
