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
/// What is kept for reliable listeners, at most: 300 MB of ends. Beyond they lose after all.
constexpr std::size_t kMaxUndelivered = 1'000'000;
constexpr std::size_t kMaxMissed = 1'000'000;

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

EventSubject subject_of(const conntrack::Event& event) {
  const conntrack::Snapshot& connection = event.connection;
  return {.subsystem = NFNL_SUBSYS_CTNETLINK,
          .events = event.bits,
          .protocol = connection.original.protocol,
          .original_zone = connection.original.zone,
          .reply_zone = connection.reply.zone,
          .mark = connection.mark};
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
  const auto wanted = [&](std::uint32_t group, std::uint32_t events) {
    if ((groups & bit(group)) == 0) return std::uint32_t{0};
    return events & static_cast<std::uint32_t>(server_.wanted_events(NFNL_SUBSYS_CTNETLINK, group));
  };
  table_.set_wanted_events(wanted(NFNLGRP_CONNTRACK_NEW, kNewEvents) |
                           wanted(NFNLGRP_CONNTRACK_UPDATE, kUpdateEvents) |
                           wanted(NFNLGRP_CONNTRACK_DESTROY, event::kDestroy));
}

std::size_t ConnectionEvents::publish(std::size_t budget) {
  report_losses();
  redeliver();
  return reader_.read(budget, [this](const conntrack::Event& event) { publish(event); });
}

void ConnectionEvents::publish(conntrack::Event event) {
  add_missed(event);
  if (send(event, false) != 0) miss(event);
}

/// ENOBUFS when a reliable listener had no room, else zero.
int ConnectionEvents::send(const conntrack::Event& event, bool only_reliable) {
  const Kind kind = kind_of(event.bits);
  if (!server_.has_listeners(kind.group)) return 0;
  const Time now = now_();
  buffer_.clear();
  netlink::Writer writer(buffer_);
  writer.begin({.type = static_cast<std::uint16_t>(NFNL_SUBSYS_CTNETLINK << 8 | kind.number),
                .flags = kind.flags,
                .port_id = event.port_id,
                .family = static_cast<std::uint8_t>(event.connection.original.family)});
  ctnetlink::write_event(writer, event.connection, event.bits, now, table_.wall(now));
  writer.end();
  return server_.publish({.group = kind.group,
                          .datagram = buffer_,
                          .port_id = event.port_id,
                          .subject = subject_of(event),
                          .only_reliable = only_reliable});
}

/// An earlier event of the connection that was missed is told with this one.
void ConnectionEvents::add_missed(conntrack::Event& event) {
  if (missed_.empty()) return;
  const auto found = missed_.find(event.connection.number);
  if (found == missed_.end()) return;
  if (found->second.generation == event.connection.generation) event.bits |= found->second.bits;
  missed_.erase(found);
}

void ConnectionEvents::miss(const conntrack::Event& event) {
  if (event.bits & event::kDestroy) {
    if (undelivered_.size() < kMaxUndelivered) undelivered_.push_back(event);
  } else if (missed_.size() < kMaxMissed) {
    missed_[event.connection.number] = {event.connection.generation, event.bits};
  }
}

/// Goes on where a reliable listener had no room; stops at once when it still has none.
void ConnectionEvents::redeliver() {
  while (!undelivered_.empty() && send(undelivered_.front(), true) == 0) {
    undelivered_.pop_front();
    ++first_undelivered_;
  }
}

/// What didn't fit into a ring has no message; its listeners are told that something is missing.
void ConnectionEvents::report_losses() {
  std::uint64_t lost = 0;
  for (std::uint32_t i = 0; i < table_.workers(); ++i) lost += table_.statistics(i).events_lost;
  if (lost == lost_) return;
  server_.report_loss(kConnectionGroups, lost - lost_);
  lost_ = lost;
}

}  // namespace weir::control
