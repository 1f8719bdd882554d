#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "control/server/subsystem.h"

namespace weir::control {

/// A knob under its name, e.g. {"net.netfilter.nf_conntrack_tcp_loose", 1}.
struct SysctlValue {
  std::string_view name;  // Lives as long as the program.
  std::uint32_t value = 0;
};

/// Whose knobs they are: the engine.
class SysctlSource {
 public:
  virtual ~SysctlSource() = default;
  /// All of them, in the order of their names.
  virtual std::vector<SysctlValue> sysctls() const = 0;
  /// One of them, by any name that it goes by. Errors: ENOENT.
  virtual Result<SysctlValue> sysctl(std::string_view name) const = 0;
  /// Errors: ENOENT; EPERM for one that is read only; EINVAL for a value out of its range.
  virtual Result<void> set_sysctl(std::string_view name, std::string_view value) = 0;
};

/// kGetSysctls: one, or a dump of all.
Result<void> get_sysctls(const Request& request, const SysctlSource& source, Reply& reply);
/// kSetSysctl.
Result<void> set_sysctl(const Request& request, SysctlSource& source);

}  // namespace weir::control
