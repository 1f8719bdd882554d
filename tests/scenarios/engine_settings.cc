#include "tests/scenarios/engine_settings.h"

#include <fmt/format.h>

#include <cerrno>

namespace weir::test {

Result<void> apply_sysctls(const Network& network, engine::Options& options) {
  conntrack::Sysctl& sysctl = options.conntrack.sysctl;
  for (const auto& [name, value] : network.sysctls) {
    if (name.starts_with("net.ipv4.conf.") || name.starts_with("net.ipv6.conf.")) continue;
    const conntrack::SysctlName* const known = conntrack::find_sysctl(name);
    if (known == nullptr) {
      return std::unexpected(Error{ENOTSUP, fmt::format("the engine has no setting for {}", name)});
    }
    if (auto set = conntrack::set_sysctl(sysctl, *known, value); !set) return set;
  }
  return {};
}

}  // namespace weir::test
