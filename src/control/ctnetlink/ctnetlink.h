#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "conntrack/control.h"
#include "conntrack/table.h"
#include "control/ctnetlink/filter.h"
#include "control/server/subsystem.h"

namespace weir::control {

/// NFNL_SUBSYS_CTNETLINK: the connection table as `conntrack` and everything else that reads it
/// sees it. One file a kind of message. Creating connections (IPCTNL_MSG_CT_NEW) and expectations
/// are refused with EOPNOTSUPP; a mark can be changed.
class Ctnetlink final : public Subsystem {
 public:
  /// `participant` is Table::control_participant() of the control thread. `now` reads the engine's
  /// clock.
  Ctnetlink(conntrack::Table& table, std::size_t participant, std::function<Time()> now)
      : table_(table), control_(table, participant), now_(now) {}

  std::uint8_t id() const override;
  bool is_change(std::uint8_t number) const override;
  Result<void> handle(const Request& request, Reply& reply) override;

 private:
  /// get.cc
  Result<void> get(const Request& request, Reply& reply, bool zeroes);
  Result<conntrack::Snapshot> find(const Request& request,
                                   const netlink::Attributes& attributes) const;
  /// dump.cc
  Result<void> dump(const Request& request, Reply& reply, bool zeroes);
  /// delete.cc
  Result<void> remove(const Request& request);
  Result<void> flush(const Request& request, const netlink::Attributes& attributes);
  /// update.cc
  Result<void> update(const Request& request);
  /// stats.cc
  void get_stats(const Request& request, Reply& reply) const;
  Result<void> dump_worker_stats(const Request& request, Reply& reply) const;

  conntrack::Table& table_;
  conntrack::Control control_;
  std::function<Time()> now_;
};

}  // namespace weir::control
