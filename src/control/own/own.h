#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "control/own/sysctl.h"
#include "control/server/subsystem.h"

namespace weir::control {

/// One number of the engine under its dotted name, e.g. {"drop.chain_policy", 17}.
struct Stat {
  std::string name;
  std::uint64_t value = 0;
};

/// Where the numbers come from: the engine.
class StatsSource {
 public:
  virtual ~StatsSource() = default;
  /// All numbers, in the order in which people want to read them.
  virtual std::vector<Stat> stats() const = 0;
};

/// weir's own nfnetlink subsystem (netlink/weir.h): what netfilter has no message for.
class OwnSubsystem final : public Subsystem {
 public:
  OwnSubsystem(const StatsSource& stats, SysctlSource& sysctls)
      : stats_(stats), sysctls_(sysctls) {}

  std::uint8_t id() const override;
  bool is_change(std::uint8_t number) const override;
  Result<void> handle(const Request& request, Reply& reply) override;

 private:
  const StatsSource& stats_;
  SysctlSource& sysctls_;
};

}  // namespace weir::control
