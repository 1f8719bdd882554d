#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>

#include "base/clock.h"
#include "conntrack/events.h"
#include "conntrack/table.h"
#include "control/server/server.h"
#include "netlink/message.h"

namespace weir::control {

/// The connection table's events on their way to the groups NFNLGRP_CONNTRACK_NEW, _UPDATE and
/// _DESTROY. Workers put snapshots into their rings; the control thread encodes and publishes them
/// here. While nobody listens to a group the workers don't even produce its events: this observes
/// the groups and sets the table's mask.
class ConnectionEvents final : public GroupsObserver {
 public:
  /// Registers itself with the server. All three must outlive it, as must it the server's use.
  ConnectionEvents(conntrack::Table& table, Server& server, std::function<Time()> now);

  void on_groups_changed(std::uint64_t groups) override;

  /// Publishes at most `budget` events; returns how many. Control thread.
  std::size_t publish(std::size_t budget);

 private:
  void publish(const conntrack::Event& event);
  void report_losses();

  conntrack::Table& table_;
  Server& server_;
  std::function<Time()> now_;
  conntrack::EventReader reader_;
  netlink::Buffer buffer_;
  std::uint64_t lost_ = 0;  ///< In the rings, as reported so far.
};

}  // namespace weir::control
