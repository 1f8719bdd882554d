#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <string>
#include <string_view>

#include "conntrack/table.h"
#include "control/server/subsystem.h"

namespace weir::control {

/// NFNL_SUBSYS_CTNETLINK_TIMEOUT: named timeout policies and the default timeouts, as `nfct
/// timeout` asks for them. Behaviour and errors: nfnetlink_cttimeout.c of Linux 6.18.
class Cttimeout final : public Subsystem {
 public:
  /// `participant` is the control thread's, `now` the engine's clock.
  Cttimeout(conntrack::Table& connections, std::size_t participant, std::function<Time()> now)
      : connections_(connections), participant_(participant), now_(std::move(now)) {}
  ~Cttimeout() override;

  std::uint8_t id() const override;
  bool is_change(std::uint8_t number) const override;
  Result<void> handle(const Request& request, Reply& reply) override;

  struct Policy {
    std::string name;
    std::uint16_t l3_protocol = 0;
    std::uint8_t protocol = 0;
    std::uint16_t number = 0;  // In conntrack::TimeoutPolicies.
    std::uint32_t use = 1;     // Ours, and one for each who assigns it to connections.
  };

 private:
  Policy* find(std::string_view name);
  Result<void> make(const Request& request);
  Result<void> get(const Request& request, Reply& reply);
  Result<void> remove(const Request& request);
  Result<void> set_default(const Request& request);
  Result<void> get_default(const Request& request, Reply& reply);
  std::vector<bool> named_policies();

  conntrack::Table& connections_;
  const std::size_t participant_;
  const std::function<Time()> now_;
  std::list<Policy> policies_;  // In the order in which they were made.
};

}  // namespace weir::control
