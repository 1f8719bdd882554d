#include "conntrack/proto/icmpv6.h"

#include "wire/icmp.h"

namespace weir::conntrack {
namespace {

namespace type = wire::icmpv6;

constexpr std::uint8_t kNodeInformationQuery = 139;  // RFC 4620.
constexpr std::uint8_t kNodeInformationReply = 140;
constexpr std::uint8_t kMulticastRouterAdvertisement = 151;  // RFC 4286. Linux tracks 153, its
constexpr std::uint8_t kMulticastRouterSolicitation = 152;   // termination, and finds it invalid.

}  // namespace

std::optional<std::uint8_t> icmpv6_opposite(std::uint8_t message) {
  switch (message) {
    case type::kEcho:
      return type::kEchoReply;
    case type::kEchoReply:
      return type::kEcho;
    case kNodeInformationQuery:
      return kNodeInformationReply;
    case kNodeInformationReply:
      return kNodeInformationQuery;
    default:
      return std::nullopt;
  }
}

Step track_icmpv6(std::uint8_t original_type, Duration timeout) {
  const bool begins = original_type == type::kEcho || original_type == kNodeInformationQuery;
  if (!begins) return {.outcome = Outcome::invalid, .reason = Reason::icmp_not_a_beginning};
  return {.timeout = timeout};
}

IcmpKind icmpv6_kind(std::uint8_t message) {
  switch (message) {
    case type::kListenerQuery:
    case type::kListenerReport:
    case type::kListenerDone:
    case type::kRouterSolicitation:
    case type::kRouterAdvertisement:
    case type::kNeighbourSolicitation:
    case type::kNeighbourAdvertisement:
    case type::kListenerReport2:
    case kMulticastRouterAdvertisement:
    case kMulticastRouterSolicitation:
      return IcmpKind::untracked;
    case type::kRedirect:
      return IcmpKind::redirect;
    default:
      return type::is_error(message) ? IcmpKind::error : IcmpKind::query;
  }
}

}  // namespace weir::conntrack
