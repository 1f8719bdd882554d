#include "conntrack/invert.h"

#include "conntrack/proto/icmp.h"
#include "conntrack/proto/icmpv6.h"
#include "wire/protocol.h"

namespace weir::conntrack {

std::optional<Tuple> invert(const Tuple& tuple) {
  Tuple answer = tuple;
  answer.src = tuple.dst;
  answer.dst = tuple.src;

  const bool is_icmp = tuple.protocol == wire::protocol::kIcmp;
  if (!is_icmp && tuple.protocol != wire::protocol::kIcmpv6) {
    answer.src_port = tuple.dst_port;
    answer.dst_port = tuple.src_port;
    return answer;
  }

  const std::uint16_t message = tuple.dst_port.host();
  const auto type = static_cast<std::uint8_t>(message >> 8);
  const std::optional<std::uint8_t> opposite =
      is_icmp ? icmp_opposite(type) : icmpv6_opposite(type);
  if (!opposite) return std::nullopt;
  answer.dst_port = Be16::from_host(static_cast<std::uint16_t>(*opposite << 8 | (message & 0xff)));
  return answer;
}

}  // namespace weir::conntrack
