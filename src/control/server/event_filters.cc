#include "control/server/event_filters.h"

#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <cerrno>

namespace weir::control {
namespace {

constexpr std::uint32_t kConditions = WEIR_EVENT_PROTOCOL | WEIR_EVENT_ZONE | WEIR_EVENT_MARK;
constexpr std::uint32_t kSubsystems = 256;

bool holds(const weir_event_filter& filter, const EventSubject& subject) {
  const std::uint32_t wanted = filter.conditions;
  if (wanted & WEIR_EVENT_PROTOCOL) {
    const std::uint32_t word = filter.protocols[subject.protocol / 32];
    if (!(word >> (subject.protocol % 32) & 1)) return false;
  }
  if ((wanted & WEIR_EVENT_ZONE) && filter.zone != subject.original_zone &&
      filter.zone != subject.reply_zone)
    return false;
  return !(wanted & WEIR_EVENT_MARK) || (subject.mark & filter.mark_mask) == filter.mark;
}

}  // namespace

Result<void> EventFilters::set(Bytes value) {
  if (value.size() != sizeof(weir_event_filter))
    return std::unexpected(Error{EINVAL, "an event filter has another size"});
  const auto filter = load<weir_event_filter>(value.data());
  if (filter.subsystem >= kSubsystems || filter.reserved != 0 || (filter.conditions & ~kConditions))
    return std::unexpected(Error{EINVAL, "an event filter with unknown parts"});
  if (filter.conditions != 0 && filter.subsystem != NFNL_SUBSYS_CTNETLINK)
    return std::unexpected(Error{EINVAL, "only ctnetlink's events have conditions"});
  std::erase_if(filters_, [&](const auto& old) { return old.subsystem == filter.subsystem; });
  filters_.push_back(filter);
  ++version_;
  return {};
}

const weir_event_filter* EventFilters::find(std::uint32_t subsystem) const {
  const auto found = std::find_if(filters_.begin(), filters_.end(), [&](const auto& filter) {
    return filter.subsystem == subsystem;
  });
  return found == filters_.end() ? nullptr : &*found;
}

weir_event_filter EventFilters::get(std::uint32_t subsystem) const {
  if (const weir_event_filter* const filter = find(subsystem)) return *filter;
  weir_event_filter all{};
  all.subsystem = subsystem;
  all.events = WEIR_EVENTS_ALL;
  return all;
}

bool EventFilters::admit(const EventSubject& subject) const {
  const weir_event_filter* const filter = find(subject.subsystem);
  return filter == nullptr || ((filter->events & subject.events) != 0 && holds(*filter, subject));
}

std::uint64_t EventFilters::events(std::uint8_t subsystem) const {
  const weir_event_filter* const filter = find(subsystem);
  return filter == nullptr ? WEIR_EVENTS_ALL : filter->events;
}

}  // namespace weir::control
