#pragma once

#include <cstdint>

#include "base/clock.h"
#include "base/error.h"
#include "conntrack/entry.h"
#include "conntrack/tuple.h"
#include "netlink/attributes.h"
#include "netlink/writer.h"

/// A connection and its parts as ctnetlink's attributes (<linux/netfilter/nfnetlink_conntrack.h>),
/// in the order and under the conditions in which the kernel's nf_conntrack_netlink.c sends them.
namespace weir::control::ctnetlink {

/// Whether tuples of this transport protocol have CTA_PROTO_SRC_PORT and _DST_PORT.
bool has_ports(std::uint8_t protocol);

/// CTA_TUPLE_ORIG or CTA_TUPLE_REPLY. `zone` is the zone of this direction alone (CTA_TUPLE_ZONE),
/// zero when both directions have the same.
void write_tuple(netlink::Writer& out, std::uint16_t type, const conntrack::Tuple& tuple,
                 std::uint16_t zone);

/// Both tuples, and the zone, which is an attribute of the connection when both directions share
/// it.
void write_tuples(netlink::Writer& out, const conntrack::Snapshot& connection);

/// What a dump and an answer to a request carry. `references` is CTA_USE.
void write_connection(netlink::Writer& out, const conntrack::Snapshot& connection, Time now,
                      std::uint32_t references);

/// What an event carries: `bits` are event::k*, `is_destroy` says that it has ended.
void write_event(netlink::Writer& out, const conntrack::Snapshot& connection, std::uint32_t bits,
                 Time now, Duration wall);

/// Which parts of a tuple a request compares (CTA_FILTER_F_*).
using TupleParts = std::uint32_t;
inline constexpr TupleParts kSource = 1u << 0;
inline constexpr TupleParts kDestination = 1u << 1;
inline constexpr TupleParts kTupleZone = 1u << 2;
inline constexpr TupleParts kProtocol = 1u << 3;
inline constexpr TupleParts kSourcePort = 1u << 4;
inline constexpr TupleParts kDestinationPort = 1u << 5;
inline constexpr TupleParts kIcmpType = 1u << 6;
inline constexpr TupleParts kIcmpCode = 1u << 7;
inline constexpr TupleParts kIcmpId = 1u << 8;
inline constexpr TupleParts kIcmp6Type = 1u << 9;
inline constexpr TupleParts kIcmp6Code = 1u << 10;
inline constexpr TupleParts kIcmp6Id = 1u << 11;
inline constexpr TupleParts kAllParts = (1u << 12) - 1;

/// The zone that a request names: of the whole connection (CTA_ZONE) or of one direction alone
/// (CTA_TUPLE_ZONE); the other direction then is in the default zone.
struct Zone {
  std::uint16_t original = 0;
  std::uint16_t reply = 0;

  /// CTA_ZONE; the default zone when absent.
  static Zone read(const netlink::Attributes& attributes);
};

/// Reads CTA_TUPLE_ORIG, CTA_TUPLE_REPLY or CTA_TUPLE_MASTER, but for its zone, which goes into
/// `zone`: EINVAL where that is null or names one already. Of the parts in `parts` those that the
/// protocol has must be there: EINVAL. EOPNOTSUPP for other families than IPv4 and IPv6.
Result<conntrack::Tuple> read_tuple(const netlink::Attribute& attribute, std::uint8_t family,
                                    Zone* zone, TupleParts parts = kAllParts);

}  // namespace weir::control::ctnetlink
