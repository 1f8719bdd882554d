#pragma once

#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "conntrack/proto/step.h"

namespace weir::conntrack {

/// ICMP queries (RFC 792, RFC 950). Behaviour: nf_conntrack_proto_icmp.c of Linux 6.18. There is no
/// state: each message begins or prolongs the connection of its id.

/// The type that answers `type`, or is answered by it; nothing for errors and the rest.
std::optional<std::uint8_t> icmp_opposite(std::uint8_t type);

/// `original_type` is the type of the connection's first message.
Step track_icmp(std::uint8_t original_type, Duration timeout);

/// What to make of a message before any look-up, by its type.
enum class IcmpKind : std::uint8_t {
  query,      // Look up its own tuple.
  error,      // Look up the packet that it quotes.
  redirect,   // ICMPv6: quotes a packet in an option.
  untracked,  // Neighbour discovery and multicast listener messages belong to the link.
  unknown,    // INVALID.
};
IcmpKind icmp_kind(std::uint8_t type);

}  // namespace weir::conntrack
