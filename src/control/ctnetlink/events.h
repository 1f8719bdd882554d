#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <unordered_map>

#include "base/clock.h"
#include "conntrack/events.h"
#include "conntrack/table.h"
#include "control/server/server.h"
#include "netlink/message.h"

namespace weir::control {

/// The connection table's events on their way to the groups NFNLGRP_CONNTRACK_NEW, _UPDATE and
/// _DESTROY. Workers put snapshots into their rings; the control thread encodes and publishes them
/// here. What no member of a group wants the workers don't even produce: this observes groups and
/// event filters and sets the table's mask.
///
/// A socket with NETLINK_BROADCAST_ERROR (conntrackd) must not lose an end: a DESTROY that it had
/// no room for is kept and offered again, until it has it, as the kernel keeps such connections in
/// its list of the dying. Any other event that it missed is told with the connection's next one.
class ConnectionEvents final : public GroupsObserver {
 public:
  /// Registers itself with the server. All three must outlive it, as must it the server's use.
  ConnectionEvents(conntrack::Table& table, Server& server, std::function<Time()> now);

  void on_groups_changed(std::uint64_t groups) override;

  /// Publishes at most `budget` events; returns how many. Control thread.
  std::size_t publish(std::size_t budget);

  /// Ends that a reliable listener still has to be told of, oldest first, numbered from
  /// first_undelivered() on: IPCTNL_MSG_CT_GET_DYING.
  const std::deque<conntrack::Event>& undelivered() const { return undelivered_; }
  std::uint64_t first_undelivered() const { return first_undelivered_; }

 private:
  /// Bits of what a connection's reliable listeners have missed, in which of its number's lives.
  struct Missed {
    std::uint32_t generation = 0;
    std::uint32_t bits = 0;
  };

  void publish(conntrack::Event event);
  int send(const conntrack::Event& event, bool only_reliable);
  void add_missed(conntrack::Event& event);
  void miss(const conntrack::Event& event);
  void redeliver();
  void report_losses();

  conntrack::Table& table_;
  Server& server_;
  std::function<Time()> now_;
  conntrack::EventReader reader_;
  netlink::Buffer buffer_;
  std::uint64_t lost_ = 0;  ///< In the rings, as reported so far.
  std::deque<conntrack::Event> undelivered_;
  std::uint64_t first_undelivered_ = 0;
  std::unordered_map<std::uint32_t, Missed> missed_;  ///< By the entry's number.
};

}  // namespace weir::control
