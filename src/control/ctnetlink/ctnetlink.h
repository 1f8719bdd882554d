#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "conntrack/control.h"
#include "conntrack/table.h"
#include "control/ctnetlink/events.h"
#include "control/ctnetlink/filter.h"
#include "control/server/subsystem.h"
#include "nat/nat.h"

namespace weir::control {

namespace ctnetlink {
class EditReader;
}

/// NFNL_SUBSYS_CTNETLINK: the connection table as `conntrack`, conntrackd and everything else that
/// reads or writes it sees it. One file a kind of message.
class Ctnetlink final : public Subsystem {
 public:
  /// `participant` is Table::control_participant() of the control thread. `now` reads the engine's
  /// clock. Without `nat` connections can't be made with a translation.
  Ctnetlink(conntrack::Table& table, std::size_t participant, std::function<Time()> now,
            nat::Nat* nat = nullptr)
      : table_(table), control_(table, participant), now_(now), nat_(nat) {}

  /// Where the dying are: ends that are still to be told. Without it there are none.
  void set_events(const ConnectionEvents* events) { events_ = events; }

  std::uint8_t id() const override;
  bool is_change(std::uint8_t number) const override;
  bool may_overtake(const netlink::Message& message) const override;
  Result<void> handle(const Request& request, Reply& reply) override;

 private:
  /// The tuples by which a request names a connection: the original one counts where it is there.
  struct Named {
    std::optional<conntrack::Tuple> original{};
    std::optional<conntrack::Tuple> reply{};
    ctnetlink::Zone zone;
  };

  /// get.cc
  Result<void> get(const Request& request, Reply& reply, bool zeroes);
  Result<conntrack::Snapshot> find(const Request& request,
                                   const netlink::Attributes& attributes) const;
  std::optional<conntrack::Snapshot> find(const Named& named) const;
  /// dump.cc
  Result<void> dump(const Request& request, Reply& reply, bool zeroes);
  Result<void> dump_dying(const Request& request, Reply& reply) const;
  Result<void> dump_unconfirmed(const Request& request, Reply& reply) const;
  /// delete.cc
  Result<void> remove(const Request& request);
  Result<void> flush(const Request& request, const netlink::Attributes& attributes);
  /// new.cc
  Result<void> make_or_change(const Request& request, Reply& reply);
  Result<void> change(const Request& request, const netlink::Attributes& attributes,
                      const conntrack::Snapshot& connection);
  Result<void> change_helper(const netlink::Attributes& attributes,
                             const conntrack::Snapshot& connection,
                             ctnetlink::EditReader& reader) const;
  Result<void> make(const Request& request, Reply& reply, const netlink::Attributes& attributes,
                    const Named& named);
  Result<void> give_helper(const netlink::Attributes& attributes, const conntrack::Tuple& original,
                           ctnetlink::EditReader& reader) const;
  Result<void> find_master(const Request& request, const netlink::Attributes& attributes,
                           const ctnetlink::Zone& zone, conntrack::Creation& creation) const;
  /// config.cc
  Result<void> configure(const Request& request, Reply& reply) const;
  /// stats.cc
  void get_stats(const Request& request, Reply& reply) const;
  Result<void> dump_worker_stats(const Request& request, Reply& reply) const;

  conntrack::Table& table_;
  conntrack::Control control_;
  std::function<Time()> now_;
  nat::Nat* nat_;
  const ConnectionEvents* events_ = nullptr;
};

}  // namespace weir::control
