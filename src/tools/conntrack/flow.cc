#include "tools/conntrack/flow.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace weir::tools::conntrack {
namespace {

using netlink::Attribute;
using netlink::Region;
using netlink::Writer;

Address read_address(const Attribute& attribute, std::uint8_t family) {
  Address address{.family = family, .bytes = {}};
  const Bytes bytes = attribute.payload();
  std::memcpy(address.bytes.data(), bytes.data(), std::min(bytes.size(), address.size()));
  return address;
}

void read_addresses(Region region, End& end) {
  for (const Attribute& a : region) {
    switch (a.type()) {
      case CTA_IP_V4_SRC:
        end.src = read_address(a, AF_INET);
        break;
      case CTA_IP_V4_DST:
        end.dst = read_address(a, AF_INET);
        break;
      case CTA_IP_V6_SRC:
        end.src = read_address(a, AF_INET6);
        break;
      case CTA_IP_V6_DST:
        end.dst = read_address(a, AF_INET6);
        break;
      default:
        continue;
    }
    end.family = end.src ? end.src->family : end.dst->family;
  }
}

void read_protocol(Region region, End& end) {
  for (const Attribute& a : region) {
    switch (a.type()) {
      case CTA_PROTO_NUM:
        end.protocol = a.u8();
        break;
      case CTA_PROTO_SRC_PORT:
        end.src_port = a.be16().host();
        break;
      case CTA_PROTO_DST_PORT:
        end.dst_port = a.be16().host();
        break;
      case CTA_PROTO_ICMP_TYPE:
      case CTA_PROTO_ICMPV6_TYPE:
        end.icmp_type = a.u8();
        break;
      case CTA_PROTO_ICMP_CODE:
      case CTA_PROTO_ICMPV6_CODE:
        end.icmp_code = a.u8();
        break;
      case CTA_PROTO_ICMP_ID:
      case CTA_PROTO_ICMPV6_ID:
        end.icmp_id = a.be16().host();
        break;
      default:
        break;
    }
  }
}

End read_tuple(Region region) {
  End end;
  for (const Attribute& a : region) {
    switch (a.type()) {
      case CTA_TUPLE_IP:
        read_addresses(a.nested(), end);
        break;
      case CTA_TUPLE_PROTO:
        read_protocol(a.nested(), end);
        break;
      case CTA_TUPLE_ZONE:
        end.zone = a.be16().host();
        break;
      default:
        break;
    }
  }
  return end;
}

Counters read_counters(Region region) {
  Counters counters;
  for (const Attribute& a : region) {
    if (a.type() == CTA_COUNTERS_PACKETS) counters.packets = a.be64().host();
    if (a.type() == CTA_COUNTERS_BYTES) counters.bytes = a.be64().host();
    if (a.type() == CTA_COUNTERS32_PACKETS) counters.packets = a.be32().host();
    if (a.type() == CTA_COUNTERS32_BYTES) counters.bytes = a.be32().host();
  }
  return counters;
}

void read_protocol_state(Region region, Flow& flow) {
  for (const Attribute& protocol : region) {
    for (const Attribute& a : protocol.nested()) {
      if (protocol.type() == CTA_PROTOINFO_TCP) {
        if (a.type() == CTA_PROTOINFO_TCP_STATE) flow.tcp_state = a.u8();
      } else if (protocol.type() == CTA_PROTOINFO_SCTP) {
        if (a.type() == CTA_PROTOINFO_SCTP_STATE) flow.sctp_state = a.u8();
        if (a.type() == CTA_PROTOINFO_SCTP_VTAG_ORIGINAL) flow.original_vtag = a.u32();
        if (a.type() == CTA_PROTOINFO_SCTP_VTAG_REPLY) flow.reply_vtag = a.u32();
      } else if (protocol.type() == CTA_PROTOINFO_DCCP) {
        if (a.type() == CTA_PROTOINFO_DCCP_STATE) flow.dccp_state = a.u8();
        if (a.type() == CTA_PROTOINFO_DCCP_ROLE) flow.dccp_role = a.u8();
      }
    }
  }
}

void read_times(Region region, Flow& flow) {
  for (const Attribute& a : region) {
    if (a.type() == CTA_TIMESTAMP_START) flow.start = a.be64().host();
    if (a.type() == CTA_TIMESTAMP_STOP) flow.stop = a.be64().host();
  }
}

std::optional<std::string> read_name(Region region, std::uint16_t type) {
  for (const Attribute& a : region) {
    if (a.type() == type) return std::string(a.string());
  }
  return {};
}

void write_address(Writer& writer, std::uint16_t v4, std::uint16_t v6,
                   const std::optional<Address>& address) {
  if (!address) return;
  writer.put(address->family == AF_INET ? v4 : v6, Bytes(address->bytes).first(address->size()));
}

void write_icmp(Writer& writer, const End& end) {
  const bool is_ip = end.protocol == IPPROTO_ICMP;
  if (end.icmp_type)
    writer.put_u8(is_ip ? CTA_PROTO_ICMP_TYPE : CTA_PROTO_ICMPV6_TYPE, *end.icmp_type);
  if (end.icmp_code)
    writer.put_u8(is_ip ? CTA_PROTO_ICMP_CODE : CTA_PROTO_ICMPV6_CODE, *end.icmp_code);
  if (end.icmp_id) writer.put_be16(is_ip ? CTA_PROTO_ICMP_ID : CTA_PROTO_ICMPV6_ID, *end.icmp_id);
}

void write_tuple(Writer& writer, std::uint16_t type, const End& end) {
  if (!end.src && !end.dst && !end.protocol && !end.zone) return;
  const auto tuple = writer.nest(type);
  if (end.src || end.dst) {
    const auto ip = writer.nest(CTA_TUPLE_IP);
    write_address(writer, CTA_IP_V4_SRC, CTA_IP_V6_SRC, end.src);
    write_address(writer, CTA_IP_V4_DST, CTA_IP_V6_DST, end.dst);
  }
  if (end.protocol) {
    const auto proto = writer.nest(CTA_TUPLE_PROTO);
    writer.put_u8(CTA_PROTO_NUM, *end.protocol);
    if (end.src_port) writer.put_be16(CTA_PROTO_SRC_PORT, *end.src_port);
    if (end.dst_port) writer.put_be16(CTA_PROTO_DST_PORT, *end.dst_port);
    write_icmp(writer, end);
  }
  if (end.zone) writer.put_be16(CTA_TUPLE_ZONE, *end.zone);
}

void write_tcp(Writer& writer, const Flow& flow) {
  const auto info = writer.nest(CTA_PROTOINFO);
  const auto tcp = writer.nest(CTA_PROTOINFO_TCP);
  if (flow.tcp_state) writer.put_u8(CTA_PROTOINFO_TCP_STATE, *flow.tcp_state);
  if (!flow.tcp_flags) return;
  const nf_ct_tcp_flags flags = {.flags = *flow.tcp_flags, .mask = *flow.tcp_flags};
  writer.put(CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, as_bytes(flags));
  writer.put(CTA_PROTOINFO_TCP_FLAGS_REPLY, as_bytes(flags));
}

void write_sctp(Writer& writer, const Flow& flow) {
  const auto info = writer.nest(CTA_PROTOINFO);
  const auto sctp = writer.nest(CTA_PROTOINFO_SCTP);
  writer.put_u8(CTA_PROTOINFO_SCTP_STATE, *flow.sctp_state);
  writer.put_u32(CTA_PROTOINFO_SCTP_VTAG_ORIGINAL, flow.original_vtag.value_or(0));
  writer.put_u32(CTA_PROTOINFO_SCTP_VTAG_REPLY, flow.reply_vtag.value_or(0));
}

void write_dccp(Writer& writer, const Flow& flow) {
  const auto info = writer.nest(CTA_PROTOINFO);
  const auto dccp = writer.nest(CTA_PROTOINFO_DCCP);
  writer.put_u8(CTA_PROTOINFO_DCCP_STATE, *flow.dccp_state);
  writer.put_u8(CTA_PROTOINFO_DCCP_ROLE, flow.dccp_role.value_or(0));
}

void write_nat(Writer& writer, std::uint16_t type, const NatTo& to) {
  if (!to.address && !to.port) return;
  const auto nat = writer.nest(type);
  write_address(writer, CTA_NAT_V4_MINIP, CTA_NAT_V6_MINIP, to.address);
  if (!to.port) return;
  const auto proto = writer.nest(CTA_NAT_PROTO);
  writer.put_be16(CTA_PROTONAT_PORT_MIN, *to.port);
  writer.put_be16(CTA_PROTONAT_PORT_MAX, *to.port);
}

}  // namespace

std::size_t Address::size() const { return family == AF_INET6 ? 16 : 4; }

std::string Address::text() const {
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(family, bytes.data(), text, sizeof text);
  return text;
}

std::optional<Address> Address::parse(const std::string& text) {
  Address address;
  for (const int family : {AF_INET, AF_INET6}) {
    address.family = static_cast<std::uint8_t>(family);
    if (inet_pton(family, text.c_str(), address.bytes.data()) == 1) return address;
  }
  return {};
}

Address Address::masked(const Address& mask) const {
  Address result = *this;
  for (std::size_t i = 0; i < size(); ++i) result.bytes[i] &= mask.bytes[i];
  return result;
}

Address Address::mask_of(std::uint8_t family, unsigned length) {
  Address mask{.family = family, .bytes = {}};
  for (std::size_t i = 0; i < mask.size(); ++i, length -= std::min(length, 8U))
    mask.bytes[i] = static_cast<std::uint8_t>(0xff00 >> std::min(length, 8U));
  return mask;
}

bool Flow::has_source_nat() const {
  return original.src && reply.dst && *original.src != *reply.dst;
}
bool Flow::has_destination_nat() const {
  return original.dst && reply.src && *original.dst != *reply.src;
}
bool Flow::has_source_port_nat() const {
  return original.src_port && reply.dst_port && *original.src_port != *reply.dst_port;
}
bool Flow::has_destination_port_nat() const {
  return original.dst_port && reply.src_port && *original.dst_port != *reply.src_port;
}

Flow read_flow(const netlink::Message& message) {
  Flow flow;
  for (const Attribute& a : message.attributes()) {
    switch (a.type()) {
      case CTA_TUPLE_ORIG:
        flow.original = read_tuple(a.nested());
        break;
      case CTA_TUPLE_REPLY:
        flow.reply = read_tuple(a.nested());
        break;
      case CTA_STATUS:
        flow.status = a.be32().host();
        break;
      case CTA_PROTOINFO:
        read_protocol_state(a.nested(), flow);
        break;
      case CTA_TIMEOUT:
        flow.timeout = a.be32().host();
        break;
      case CTA_MARK:
        flow.mark = a.be32().host();
        break;
      case CTA_SECMARK:
        flow.secmark = a.be32().host();
        break;
      case CTA_COUNTERS_ORIG:
        flow.original_counters = read_counters(a.nested());
        break;
      case CTA_COUNTERS_REPLY:
        flow.reply_counters = read_counters(a.nested());
        break;
      case CTA_USE:
        flow.use = a.be32().host();
        break;
      case CTA_ID:
        flow.id = a.be32().host();
        break;
      case CTA_HELP:
        flow.helper = read_name(a.nested(), CTA_HELP_NAME);
        break;
      case CTA_ZONE:
        flow.zone = a.be16().host();
        break;
      case CTA_SECCTX:
        flow.secctx = read_name(a.nested(), CTA_SECCTX_NAME);
        break;
      case CTA_TIMESTAMP:
        read_times(a.nested(), flow);
        break;
      case CTA_LABELS:
        flow.labels = Labels(a.payload().begin(), a.payload().end());
        break;
      default:
        break;
    }
  }
  return flow;
}

Expectation read_expectation(const netlink::Message& message) {
  Expectation expectation;
  for (const Attribute& a : message.attributes()) {
    switch (a.type()) {
      case CTA_EXPECT_MASTER:
        expectation.master = read_tuple(a.nested());
        break;
      case CTA_EXPECT_TUPLE:
        expectation.expected = read_tuple(a.nested());
        break;
      case CTA_EXPECT_MASK:
        expectation.mask = read_tuple(a.nested());
        break;
      case CTA_EXPECT_TIMEOUT:
        expectation.timeout = a.be32().host();
        break;
      case CTA_EXPECT_ZONE:
        expectation.zone = a.be16().host();
        break;
      case CTA_EXPECT_FLAGS:
        expectation.flags = a.be32().host();
        break;
      case CTA_EXPECT_CLASS:
        expectation.expect_class = a.be32().host();
        break;
      case CTA_EXPECT_HELP_NAME:
        expectation.helper = std::string(a.string());
        break;
      default:
        break;
    }
  }
  return expectation;
}

void write_flow(Writer& writer, const Flow& flow) {
  write_tuple(writer, CTA_TUPLE_ORIG, flow.original);
  write_tuple(writer, CTA_TUPLE_REPLY, flow.reply);
  // A change must not seem to take away that the entry is in the table.
  if (flow.status) writer.put_be32(CTA_STATUS, *flow.status | IPS_CONFIRMED);
  if (flow.timeout) writer.put_be32(CTA_TIMEOUT, *flow.timeout);
  if (flow.mark) writer.put_be32(CTA_MARK, *flow.mark);
  if (flow.secmark) writer.put_be32(CTA_SECMARK, *flow.secmark);
  if (flow.tcp_state || (flow.tcp_flags && flow.original.protocol == IPPROTO_TCP))
    write_tcp(writer, flow);
  if (flow.sctp_state) write_sctp(writer, flow);
  if (flow.dccp_state) write_dccp(writer, flow);
  write_nat(writer, CTA_NAT_SRC, flow.source_nat);
  write_nat(writer, CTA_NAT_DST, flow.destination_nat);
  if (flow.zone) writer.put_be16(CTA_ZONE, *flow.zone);
  if (flow.id) writer.put_be32(CTA_ID, *flow.id);
  if (flow.labels) {
    writer.put(CTA_LABELS, *flow.labels);
    if (flow.labels_mask) writer.put(CTA_LABELS_MASK, *flow.labels_mask);
  }
}

void write_key(Writer& writer, const Flow& flow) {
  write_tuple(writer, CTA_TUPLE_ORIG, flow.original);
  if (flow.zone) writer.put_be16(CTA_ZONE, *flow.zone);
  if (flow.id) writer.put_be32(CTA_ID, *flow.id);
}

void write_expectation(Writer& writer, const Expectation& expectation) {
  write_tuple(writer, CTA_EXPECT_MASTER, expectation.master);
  write_tuple(writer, CTA_EXPECT_TUPLE, expectation.expected);
  write_tuple(writer, CTA_EXPECT_MASK, expectation.mask);
  if (expectation.timeout) writer.put_be32(CTA_EXPECT_TIMEOUT, *expectation.timeout);
  if (expectation.zone) writer.put_be16(CTA_EXPECT_ZONE, *expectation.zone);
  if (expectation.flags) writer.put_be32(CTA_EXPECT_FLAGS, *expectation.flags);
}

}  // namespace weir::tools::conntrack
