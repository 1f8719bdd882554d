#include "wire/protocol.h"

namespace weir::wire {

std::string_view protocol_name(std::uint8_t number) {
  switch (number) {
    case protocol::kIcmp:
      return "icmp";
    case protocol::kIgmp:
      return "igmp";
    case protocol::kTcp:
      return "tcp";
    case protocol::kUdp:
      return "udp";
    case protocol::kDccp:
      return "dccp";
    case protocol::kGre:
      return "gre";
    case protocol::kEsp:
      return "esp";
    case protocol::kAh:
      return "ah";
    case protocol::kIcmpv6:
      return "icmpv6";
    case protocol::kSctp:
      return "sctp";
    case protocol::kUdplite:
      return "udplite";
    default:
      return "unknown";
  }
}

}  // namespace weir::wire
