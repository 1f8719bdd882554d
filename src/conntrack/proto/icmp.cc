#include "conntrack/proto/icmp.h"

#include "wire/icmp.h"

namespace weir::conntrack {
namespace {

namespace type = wire::icmp;

constexpr std::uint8_t kHighestType = 18;  // RFC 1122 3.2.2: unknown types are discarded.

}  // namespace

std::optional<std::uint8_t> icmp_opposite(std::uint8_t message) {
  switch (message) {
    case type::kEcho:
      return type::kEchoReply;
    case type::kEchoReply:
      return type::kEcho;
    case type::kTimestamp:
      return type::kTimestampReply;
    case type::kTimestampReply:
      return type::kTimestamp;
    case type::kInformation:
      return type::kInformationReply;
    case type::kInformationReply:
      return type::kInformation;
    case type::kAddressMask:
      return type::kAddressMaskReply;
    case type::kAddressMaskReply:
      return type::kAddressMask;
    default:
      return std::nullopt;
  }
}

Step track_icmp(std::uint8_t original_type, Duration timeout) {
  const bool begins = original_type == type::kEcho || original_type == type::kTimestamp ||
                      original_type == type::kInformation || original_type == type::kAddressMask;
  if (!begins) return {.outcome = Outcome::invalid, .reason = Reason::icmp_not_a_beginning};
  return {.timeout = timeout};
}

IcmpKind icmp_kind(std::uint8_t message) {
  if (message > kHighestType) return IcmpKind::unknown;
  return type::is_error(message) ? IcmpKind::error : IcmpKind::query;
}

}  // namespace weir::conntrack
