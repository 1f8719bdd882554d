#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include "control/ctnetlink/expect.h"

namespace weir::control {
namespace {

constexpr std::uint64_t bit(std::uint32_t group) { return std::uint64_t{1} << (group - 1); }
constexpr std::uint64_t kGroups =
    bit(NFNLGRP_CONNTRACK_EXP_NEW) | bit(NFNLGRP_CONNTRACK_EXP_DESTROY);

constexpr std::uint64_t kNewEvent = 1 << IPEXP_NEW;
constexpr std::uint64_t kDestroyEvent = 1 << IPEXP_DESTROY;

}  // namespace

ExpectationEvents::ExpectationEvents(conntrack::Table& table, Server& server,
                                     std::function<Time()> now)
    : table_(table), server_(server), now_(now) {
  server.add_groups_observer(*this);
}

void ExpectationEvents::on_groups_changed(std::uint64_t groups) {
  const auto wants = [&](std::uint32_t group, std::uint64_t event) {
    return (groups & bit(group)) != 0 &&
           (server_.wanted_events(NFNL_SUBSYS_CTNETLINK_EXP, group) & event) != 0;
  };
  table_.expectations().set_wanted(wants(NFNLGRP_CONNTRACK_EXP_NEW, kNewEvent) ||
                                   wants(NFNLGRP_CONNTRACK_EXP_DESTROY, kDestroyEvent));
}

std::size_t ExpectationEvents::publish(std::size_t budget) {
  conntrack::Expectations& expectations = table_.expectations();
  const std::uint64_t lost = expectations.counts().events_lost.value();
  if (lost != lost_) server_.report_loss(kGroups, lost - lost_);
  lost_ = lost;

  std::size_t count = 0;
  for (; count < budget; ++count) {
    const conntrack::ExpectationEvent* const event = expectations.events().front();
    if (event == nullptr) break;
    const std::uint32_t group =
        event->is_destroyed ? NFNLGRP_CONNTRACK_EXP_DESTROY : NFNLGRP_CONNTRACK_EXP_NEW;
    if (server_.has_listeners(group)) {
      const std::uint8_t number = event->is_destroyed ? IPCTNL_MSG_EXP_DELETE : IPCTNL_MSG_EXP_NEW;
      buffer_.clear();
      netlink::Writer writer(buffer_);
      writer.begin(
          {.type = static_cast<std::uint16_t>(NFNL_SUBSYS_CTNETLINK_EXP << 8 | number),
           .flags = static_cast<std::uint16_t>(event->is_destroyed ? 0 : NLM_F_CREATE | NLM_F_EXCL),
           .port_id = event->port_id,
           .family = static_cast<std::uint8_t>(event->expectation.expected.tuple.family)});
      ctnetlink::write_expectation(writer, event->expectation, now_());
      writer.end();
      server_.publish(
          {.group = group,
           .datagram = buffer_,
           .port_id = event->port_id,
           .subject = EventSubject{.subsystem = NFNL_SUBSYS_CTNETLINK_EXP,
                                   .events = event->is_destroyed ? kDestroyEvent : kNewEvent}});
    }
    expectations.events().pop();
  }
  return count;
}

}  // namespace weir::control
