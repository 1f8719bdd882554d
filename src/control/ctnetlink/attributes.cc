#include "control/ctnetlink/attributes.h"

#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "helpers/list.h"

namespace weir::control::ctnetlink {
namespace {

using conntrack::Direction;
using conntrack::Snapshot;
using conntrack::Tuple;

/// CTA_TIMESTAMP_EVENT, which older UAPI headers lack (Linux 6.14).
constexpr std::uint16_t kTimestampEvent = 27;

bool is_icmp(std::uint8_t protocol) { return protocol == IPPROTO_ICMP; }
bool is_icmp6(std::uint8_t protocol) { return protocol == IPPROTO_ICMPV6; }

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
void write_tcp(netlink::Writer& out, const conntrack::TcpState& state, bool is_destroyed) {
  const auto tcp = out.nest(CTA_PROTOINFO_TCP);
  out.put_u8(CTA_PROTOINFO_TCP_STATE, static_cast<std::uint8_t>(state.phase));
  if (is_destroyed) return;
  out.put_u8(CTA_PROTOINFO_TCP_WSCALE_ORIGINAL, state.scales[0]);
  out.put_u8(CTA_PROTOINFO_TCP_WSCALE_REPLY, state.scales[1]);
  write_flags(out, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, state.flags[0]);
  write_flags(out, CTA_PROTOINFO_TCP_FLAGS_REPLY, state.flags[1]);
}

void write_sctp(netlink::Writer& out, const conntrack::SctpState& state, bool is_destroyed) {
  const auto sctp = out.nest(CTA_PROTOINFO_SCTP);
  out.put_u8(CTA_PROTOINFO_SCTP_STATE, static_cast<std::uint8_t>(state.phase));
  if (is_destroyed) return;
  out.put_be32(CTA_PROTOINFO_SCTP_VTAG_ORIGINAL, Be32::from_host(state.tags[0]));
  out.put_be32(CTA_PROTOINFO_SCTP_VTAG_REPLY, Be32::from_host(state.tags[1]));
}

/// The role is that of the original direction's sender: 0 for the client.
void write_dccp(netlink::Writer& out, const conntrack::DccpState& state, bool is_destroyed) {
  const auto dccp = out.nest(CTA_PROTOINFO_DCCP);
  out.put_u8(CTA_PROTOINFO_DCCP_STATE, static_cast<std::uint8_t>(state.phase));
  if (is_destroyed) return;
  out.put_u8(CTA_PROTOINFO_DCCP_ROLE, static_cast<std::uint8_t>(state.client));
  out.put_be64(CTA_PROTOINFO_DCCP_HANDSHAKE_SEQ, state.handshake_sequence);
}

void write_protocol_info(netlink::Writer& out, const Snapshot& connection, bool is_destroyed) {
  const std::uint8_t protocol = connection.original.protocol;
  if (protocol != IPPROTO_TCP && protocol != IPPROTO_SCTP && protocol != IPPROTO_DCCP) return;
  const auto info = out.nest(CTA_PROTOINFO);
  if (protocol == IPPROTO_TCP) write_tcp(out, connection.tcp, is_destroyed);
  if (protocol == IPPROTO_SCTP) write_sctp(out, connection.sctp, is_destroyed);
  if (protocol == IPPROTO_DCCP) write_dccp(out, connection.dccp, is_destroyed);
}

void write_helper(netlink::Writer& out, const Snapshot& connection) {
  const std::string_view name = helpers::name_of(connection.rare.helper);
  if (name.empty()) return;
  const auto help = out.nest(CTA_HELP);
  out.put_string(CTA_HELP_NAME, name);
}

void write_labels(netlink::Writer& out, const Snapshot& connection) {
  const auto& labels = connection.rare.labels;
  const bool has_any =
      std::any_of(labels.begin(), labels.end(), [](std::uint8_t byte) { return byte != 0; });
  if (has_any) out.put(CTA_LABELS, labels);
}

void write_master(netlink::Writer& out, const Snapshot& connection) {
  if (!connection.rare.has_master()) return;
  write_tuple(out, CTA_TUPLE_MASTER, connection.rare.master_tuple, 0);
}

void write_sequence(netlink::Writer& out, const Snapshot& connection) {
  if (!(connection.status & conntrack::status::kSeqAdjust)) return;
  constexpr std::uint16_t types[] = {CTA_SEQ_ADJ_ORIG, CTA_SEQ_ADJ_REPLY};
  for (std::size_t i = 0; i < std::size(types); ++i) {
    const conntrack::SequenceAdjustment::Summary& summary = connection.rare.sequence[i];
    const auto adjustment = out.nest(types[i]);
    out.put_be32(CTA_SEQADJ_CORRECTION_POS, summary.position);
    out.put_be32(CTA_SEQADJ_OFFSET_BEFORE, static_cast<std::uint32_t>(summary.before));
    out.put_be32(CTA_SEQADJ_OFFSET_AFTER, static_cast<std::uint32_t>(summary.after));
  }
}

void write_synproxy(netlink::Writer& out, const Snapshot& connection) {
  const auto& synproxy = connection.rare.synproxy;
  if (!synproxy[3]) return;
  const auto nest = out.nest(CTA_SYNPROXY);
  out.put_be32(CTA_SYNPROXY_ISN, synproxy[0]);
  out.put_be32(CTA_SYNPROXY_ITS, synproxy[1]);
  out.put_be32(CTA_SYNPROXY_TSOFF, synproxy[2]);
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
  write_master(out, connection);
  write_timeout(out, connection, now);
  write_protocol_info(out, connection, false);
  write_counters(out, connection);
  write_timestamps(out, connection);
  write_helper(out, connection);
  write_labels(out, connection);
  write_sequence(out, connection);
  write_synproxy(out, connection);
}

void write_event(netlink::Writer& out, const Snapshot& connection, std::uint32_t bits, Time now,
                 Duration wall) {
  namespace event = conntrack::event;
  write_tuples(out, connection);
  out.put_be32(CTA_ID, Be32{connection.id});
  out.put_be32(CTA_STATUS, connection.status);
  if (bits & event::kDestroy) {
    if (connection.expires_in(now) >= std::chrono::seconds(1)) write_timeout(out, connection, now);
    write_counters(out, connection);
    write_timestamps(out, connection);
    write_protocol_info(out, connection, true);
  } else {
    write_timeout(out, connection, now);
    if (bits & event::kProtoInfo) write_protocol_info(out, connection, false);
    write_helper(out, connection);
    if (bits & event::kLabel) write_labels(out, connection);
    if (bits & event::kRelated) write_master(out, connection);
    if (bits & event::kSeqAdjust) write_sequence(out, connection);
    if (bits & event::kSynProxy) write_synproxy(out, connection);
  }
  if (connection.mark || bits & conntrack::event::kMark) out.put_be32(CTA_MARK, connection.mark);
  out.put_be64(kTimestampEvent, static_cast<std::uint64_t>(wall.count()));
}

}  // namespace weir::control::ctnetlink
