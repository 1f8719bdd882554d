#pragma once

#include <cstdint>
#include <optional>

#include "conntrack/proto/icmp.h"

namespace weir::conntrack {

/// ICMPv6 queries (RFC 4443, RFC 4620). Behaviour: nf_conntrack_proto_icmpv6.c of Linux 6.18.

std::optional<std::uint8_t> icmpv6_opposite(std::uint8_t type);
Step track_icmpv6(std::uint8_t original_type, Duration timeout);
IcmpKind icmpv6_kind(std::uint8_t type);

}  // namespace weir::conntrack
