#include "control/ctnetlink/events.h"

#include <linux/netfilter/nfnetlink_conntrack.h>

#include <vector>

#include "conntrack/tracker.h"
#include "control/ctnetlink/attributes.h"

namespace weir::control {
namespace {

namespace event = conntrack::event;

constexpr std::uint32_t kNewEvents = event::kNew | event::kRelated;
constexpr std::uint32_t kUpdateEvents = event::kReply | event::kAssured | event::kProtoInfo |
                                        event::kHelper | event::kMark | event::kSeqAdjust |
                                        event::kSecMark | event::kLabel | event::kSynProxy;

constexpr std::uint64_t bit(std::uint32_t group) { return std::uint64_t{1} << (group - 1); }
constexpr std::uint64_t kConnectionGroups =
    bit(NFNLGRP_CONNTRACK_NEW) | bit(NFNLGRP_CONNTRACK_UPDATE) | bit(NFNLGRP_CONNTRACK_DESTROY);

std::vector<conntrack::EventRing*> rings_of(conntrack::Table& table) {
  std::vector<conntrack::EventRing*> rings;
  for (std::uint32_t i = 0; i < table.workers(); ++i) rings.push_back(&table.tracker(i).events());
  return rings;
}

struct Kind {
  std::uint8_t number;
  std::uint16_t flags;
  std::uint32_t group;
};

/// As the kernel's ctnetlink_conntrack_event: an end before a beginning, a beginning before a
/// change.
Kind kind_of(std::uint32_t bits) {
  if (bits & event::kDestroy) return {IPCTNL_MSG_CT_DELETE, 0, NFNLGRP_CONNTRACK_DESTROY};
  if (bits & kNewEvents) {
    return {IPCTNL_MSG_CT_NEW, NLM_F_CREATE | NLM_F_EXCL, NFNLGRP_CONNTRACK_NEW};
  }
  return {IPCTNL_MSG_CT_NEW, 0, NFNLGRP_CONNTRACK_UPDATE};
}

}  // namespace

ConnectionEvents::ConnectionEvents(conntrack::Table& table, Server& server,
                                   std::function<Time()> now)
    : table_(table),
      server_(server),
      now_(now),
      reader_(rings_of(table), table.arena().capacity() + 1) {
  server.add_groups_observer(*this);
}

void ConnectionEvents::on_groups_changed(std::uint64_t groups) {
  std::uint32_t wanted = 0;
  if (groups & bit(NFNLGRP_CONNTRACK_NEW)) wanted |= kNewEvents;
  if (groups & bit(NFNLGRP_CONNTRACK_UPDATE)) wanted |= kUpdateEvents;
  if (groups & bit(NFNLGRP_CONNTRACK_DESTROY)) wanted |= event::kDestroy;
  table_.set_wanted_events(wanted);
}

std::size_t ConnectionEvents::publish(std::size_t budget) {
  report_losses();
  return reader_.read(budget, [this](const conntrack::Event& event) { publish(event); });
}

void ConnectionEvents::publish(const conntrack::Event& event) {
  const Kind kind = kind_of(event.bits);
  if (!server_.has_listeners(kind.group)) return;
  const Time now = now_();
  buffer_.clear();
  netlink::Writer writer(buffer_);
  writer.begin({.type = static_cast<std::uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | kind.number),
                .flags = kind.flags,
                .port_id = event.port_id,
                .family = static_cast<std::uint8_t>(event.connection.original.family)});
  ctnetlink::write_event(writer, event.connection, event.bits, now, table_.wall(now));
  writer.end();
  server_.publish({.group = kind.group, .datagram = buffer_, .port_id = event.port_id});
}

/// What didn't fit into a ring has no message; its listeners are told that something is missing.
void ConnectionEvents::report_losses() {
  std::uint64_t lost = 0;
  for (std::uint32_t i = 0; i < table_.workers(); ++i) lost += table_.statistics(i).events_lost;
  if (lost == lost_) return;
  lost_ = lost;
  server_.report_loss(kConnectionGroups);
}

}  // namespace weir::control
