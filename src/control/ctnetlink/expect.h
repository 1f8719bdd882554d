#pragma once

#include <cstdint>
#include <functional>
#include <optional>

#include "base/clock.h"
#include "conntrack/control.h"
#include "conntrack/table.h"
#include "control/server/server.h"
#include "control/server/subsystem.h"
#include "netlink/message.h"

namespace weir::control {

/// NFNL_SUBSYS_CTNETLINK_EXP: the expectations, as `conntrack -L expect` and conntrackd see them.
/// What is checked, and with which errors, is as in the kernel's nf_conntrack_netlink.c.
class CtnetlinkExpect final : public Subsystem {
 public:
  /// As Ctnetlink's.
  CtnetlinkExpect(conntrack::Table& table, std::size_t participant, std::function<Time()> now)
      : table_(table), control_(table, participant), now_(now) {}

  std::uint8_t id() const override;
  bool is_change(std::uint8_t number) const override;
  Result<void> handle(const Request& request, Reply& reply) override;

 private:
  Result<void> get(const Request& request, Reply& reply);
  Result<void> dump(const Request& request, Reply& reply);
  Result<void> dump_worker_stats(const Request& request, Reply& reply) const;
  Result<void> remove(const Request& request);
  /// expect_new.cc
  Result<void> make_or_change(const Request& request);
  Result<void> make(const Request& request, const netlink::Attributes& attributes,
                    const conntrack::Tuple& tuple);

  template <typename Goes>
  void remove_all(std::uint32_t port_id, Goes&& goes);
  int change(const conntrack::ExpectationSnapshot& expectation,
             conntrack::ExpectationChange change);

  conntrack::Table& table_;
  conntrack::Control control_;
  std::function<Time()> now_;
};

/// Expectations' events on their way to NFNLGRP_CONNTRACK_EXP_NEW and _DESTROY; as
/// ConnectionEvents.
class ExpectationEvents final : public GroupsObserver {
 public:
  ExpectationEvents(conntrack::Table& table, Server& server, std::function<Time()> now);

  void on_groups_changed(std::uint64_t groups) override;
  /// Publishes at most `budget` events; returns how many. Control thread.
  std::size_t publish(std::size_t budget);

 private:
  conntrack::Table& table_;
  Server& server_;
  std::function<Time()> now_;
  netlink::Buffer buffer_;
  std::uint64_t lost_ = 0;  ///< In the ring, as reported so far.
};

namespace ctnetlink {

/// An expectation's attributes, in the kernel's order.
void write_expectation(netlink::Writer& out, const conntrack::ExpectationSnapshot& expectation,
                       Time now);

/// The attributes of a request, checked by their lengths.
Result<netlink::Attributes> parse_expectation(const netlink::Message& message);

/// CTA_EXPECT_TUPLE, _MASTER or _MASK, in the request's zone.
Result<conntrack::Tuple> read_expectation_tuple(const netlink::Message& message,
                                                const netlink::Attributes& attributes,
                                                std::uint16_t type);

}  // namespace ctnetlink

}  // namespace weir::control
