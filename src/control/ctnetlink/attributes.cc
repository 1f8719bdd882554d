#include "control/ctnetlink/attributes.h"

#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include <cerrno>

namespace weir::control::ctnetlink {
namespace {

using conntrack::Direction;
using conntrack::Snapshot;
using conntrack::Tuple;

/// CTA_TIMESTAMP_EVENT, which older UAPI headers lack (Linux 6.14).
constexpr std::uint16_t kTimestampEvent = 27;

bool is_icmp(std::uint8_t protocol) { return protocol == IPPROTO_ICMP; }
bool is_icmp6(std::uint8_t protocol) { return protocol == IPPROTO_ICMPV6; }

bool has_ports(std::uint8_t protocol) {
  switch (protocol) {
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
    case IPPROTO_SCTP:
    case IPPROTO_DCCP:
    case IPPROTO_GRE:
      return true;
    default:
      return false;
  }
}

/// An ICMP tuple keeps type and code as the two bytes of its destination port.
std::uint8_t icmp_type(const Tuple& tuple) {
  return static_cast<std::uint8_t>(tuple.dst_port.host() >> 8);
}
std::uint8_t icmp_code(const Tuple& tuple) {
  return static_cast<std::uint8_t>(tuple.dst_port.host());
}

void write_addresses(netlink::Writer& out, const Tuple& tuple) {
  const bool is_ip = tuple.family == wire::Family::ip;
  const auto ip = out.nest(CTA_TUPLE_IP);
  out.put(is_ip ? CTA_IP_V4_SRC : CTA_IP_V6_SRC, tuple.src.view(tuple.family));
  out.put(is_ip ? CTA_IP_V4_DST : CTA_IP_V6_DST, tuple.dst.view(tuple.family));
}

void write_protocol(netlink::Writer& out, const Tuple& tuple) {
  const auto protocol = out.nest(CTA_TUPLE_PROTO);
  out.put_u8(CTA_PROTO_NUM, tuple.protocol);
  if (has_ports(tuple.protocol)) {
    out.put_be16(CTA_PROTO_SRC_PORT, tuple.src_port);
    out.put_be16(CTA_PROTO_DST_PORT, tuple.dst_port);
  } else if (is_icmp(tuple.protocol)) {
    out.put_be16(CTA_PROTO_ICMP_ID, tuple.src_port);
    out.put_u8(CTA_PROTO_ICMP_TYPE, icmp_type(tuple));
    out.put_u8(CTA_PROTO_ICMP_CODE, icmp_code(tuple));
  } else if (is_icmp6(tuple.protocol)) {
    out.put_be16(CTA_PROTO_ICMPV6_ID, tuple.src_port);
    out.put_u8(CTA_PROTO_ICMPV6_TYPE, icmp_type(tuple));
    out.put_u8(CTA_PROTO_ICMPV6_CODE, icmp_code(tuple));
  }
}

void write_timeout(netlink::Writer& out, const Snapshot& connection, Time now) {
  const auto left =
      std::chrono::duration_cast<std::chrono::seconds>(connection.expires_in(now)).count();
  out.put_be32(CTA_TIMEOUT, static_cast<std::uint32_t>(left));
}

void write_flags(netlink::Writer& out, std::uint16_t type, std::uint8_t flags) {
  const nf_ct_tcp_flags value{.flags = flags, .mask = 0};
  out.put(type, as_bytes(value));
}

/// A destroyed connection tells only its last state.
void write_protocol_info(netlink::Writer& out, const Snapshot& connection, bool is_destroyed) {
  if (connection.original.protocol != IPPROTO_TCP) return;
  const auto info = out.nest(CTA_PROTOINFO);
  const auto tcp = out.nest(CTA_PROTOINFO_TCP);
  out.put_u8(CTA_PROTOINFO_TCP_STATE, static_cast<std::uint8_t>(connection.tcp.phase));
  if (is_destroyed) return;
  out.put_u8(CTA_PROTOINFO_TCP_WSCALE_ORIGINAL, connection.tcp.scales[0]);
  out.put_u8(CTA_PROTOINFO_TCP_WSCALE_REPLY, connection.tcp.scales[1]);
  write_flags(out, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, connection.tcp.flags[0]);
  write_flags(out, CTA_PROTOINFO_TCP_FLAGS_REPLY, connection.tcp.flags[1]);
}

void write_counters(netlink::Writer& out, const Snapshot& connection) {
  constexpr std::uint16_t types[] = {CTA_COUNTERS_ORIG, CTA_COUNTERS_REPLY};
  for (std::size_t i = 0; i < 2; ++i) {
    const auto counters = out.nest(types[i]);
    out.put_be64(CTA_COUNTERS_PACKETS, connection.traffic[i].packets);
    out.put_be64(CTA_COUNTERS_BYTES, connection.traffic[i].bytes);
  }
}

void write_timestamps(netlink::Writer& out, const Snapshot& connection) {
  if (connection.start == Duration{}) return;
  const auto timestamps = out.nest(CTA_TIMESTAMP);
  out.put_be64(CTA_TIMESTAMP_START, static_cast<std::uint64_t>(connection.start.count()));
  if (connection.stop != Duration{}) {
    out.put_be64(CTA_TIMESTAMP_STOP, static_cast<std::uint64_t>(connection.stop.count()));
  }
}

}  // namespace

void write_tuple(netlink::Writer& out, std::uint16_t type, const Tuple& tuple, std::uint16_t zone) {
  const auto nest = out.nest(type);
  write_addresses(out, tuple);
  write_protocol(out, tuple);
  if (zone) out.put_be16(CTA_TUPLE_ZONE, zone);
}

void write_tuples(netlink::Writer& out, const Snapshot& connection) {
  const std::uint16_t original = connection.original.zone;
  const std::uint16_t reply = connection.reply.zone;
  const bool is_shared = original == reply;
  write_tuple(out, CTA_TUPLE_ORIG, connection.original, is_shared ? 0 : original);
  write_tuple(out, CTA_TUPLE_REPLY, connection.reply, is_shared ? 0 : reply);
  if (is_shared && original) out.put_be16(CTA_ZONE, original);
}

void write_connection(netlink::Writer& out, const Snapshot& connection, Time now,
                      std::uint32_t references) {
  write_tuples(out, connection);
  out.put_be32(CTA_STATUS, connection.status);
  out.put_be32(CTA_MARK, connection.mark);
  out.put_be32(CTA_ID, Be32{connection.id});
  out.put_be32(CTA_USE, references);
  write_timeout(out, connection, now);
  write_protocol_info(out, connection, false);
  write_counters(out, connection);
  write_timestamps(out, connection);
}

void write_event(netlink::Writer& out, const Snapshot& connection, std::uint32_t bits, Time now,
                 Duration wall) {
  write_tuples(out, connection);
  out.put_be32(CTA_ID, Be32{connection.id});
  out.put_be32(CTA_STATUS, connection.status);
  write_timeout(out, connection, now);
  if (bits & conntrack::event::kDestroy) {
    write_counters(out, connection);
    write_timestamps(out, connection);
    write_protocol_info(out, connection, true);
  } else if (bits & conntrack::event::kProtoInfo) {
    write_protocol_info(out, connection, false);
  }
  if (connection.mark || bits & conntrack::event::kMark) out.put_be32(CTA_MARK, connection.mark);
  out.put_be64(kTimestampEvent, static_cast<std::uint64_t>(wall.count()));
}

std::uint16_t read_zone(const netlink::Attributes& attributes) {
  return attributes.be16(CTA_ZONE).host();
}

}  // namespace weir::control::ctnetlink
