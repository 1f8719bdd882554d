// The knobs under their names: what the connection table reads itself, and the limits of
// reassembly, which are told.
#include <fmt/core.h>

#include "engine/engine.h"

namespace weir::engine {
namespace {

Error no_such(std::string_view name) {
  return {ENOENT, fmt::format("there is no sysctl {}; `weir sysctl -a` lists them", name)};
}

}  // namespace

/// With what can only be read up to date.
conntrack::Sysctl& Engine::fresh_sysctl() const {
  conntrack::Sysctl& sysctl = conntrack_->sysctl();
  sysctl.count.set(conntrack_->count());
  sysctl.buckets.set(conntrack_->index_lines() * 8);
  return sysctl;
}

void Engine::bound_reassembly() {
  const conntrack::Sysctl& sysctl = conntrack_->sysctl();
  reassembly_->set_bounds({.ip_bytes = sysctl.ipfrag_high_thresh.get(),
                           .ip6_bytes = sysctl.frag6_high_thresh.get(),
                           .ip_timeout = sysctl.ipfrag_time.seconds(),
                           .ip6_timeout = sysctl.frag6_timeout.seconds()});
}

std::vector<control::SysctlValue> Engine::sysctls() const {
  conntrack::Sysctl& sysctl = fresh_sysctl();
  std::vector<control::SysctlValue> values;
  for (const conntrack::SysctlName& name : conntrack::sysctl_names()) {
    values.push_back({name.name, name.knob(sysctl).get()});
  }
  return values;
}

Result<control::SysctlValue> Engine::sysctl(std::string_view name) const {
  const conntrack::SysctlName* const known = conntrack::find_sysctl(name);
  if (known == nullptr) return std::unexpected(no_such(name));
  return control::SysctlValue{known->name, known->knob(fresh_sysctl()).get()};
}

Result<void> Engine::set_sysctl(std::string_view name, std::string_view value) {
  const conntrack::SysctlName* const known = conntrack::find_sysctl(name);
  if (known == nullptr) return std::unexpected(no_such(name));
  conntrack::Sysctl& sysctl = conntrack_->sysctl();
  if (auto set = conntrack::set_sysctl(sysctl, *known, value); !set) return set;
  bound_reassembly();
  conntrack_->heed_events_knob();
  return {};
}

}  // namespace weir::engine
