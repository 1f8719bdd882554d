#include "conntrack/extract.h"

#include "conntrack/invert.h"
#include "conntrack/proto/dccp.h"
#include "conntrack/proto/icmp.h"
#include "conntrack/proto/icmpv6.h"
#include "conntrack/proto/sctp.h"
#include "conntrack/proto/tcp.h"
#include "conntrack/proto/udp.h"
#include "conntrack/proto/udplite.h"
#include "wire/checksum.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/protocol.h"
#include "wire/udp.h"

namespace weir::conntrack {
namespace {

namespace protocol = wire::protocol;

constexpr std::size_t kRedirectBytes = 40;    // RFC 4861 section 4.5, before its options.
constexpr std::size_t kRedirectedHeader = 8;  // RFC 4861 section 4.6.3, before the packet.
constexpr std::uint8_t kRedirectedHeaderOption = 4;

/// The transport's part of a tuple from the beginning of its header.
bool read_ports(Bytes l4, const GreKeymap* keymap, Tuple& tuple) {
  switch (tuple.protocol) {
    case protocol::kTcp:
    case protocol::kUdp:
    case protocol::kUdplite:
    case protocol::kSctp:
    case protocol::kDccp: {
      const auto* const ports = wire::view<wire::Ports>(l4);
      if (ports == nullptr) return false;
      tuple.src_port = ports->src_port();
      tuple.dst_port = ports->dst_port();
      return true;
    }
    case protocol::kIcmp:
    case protocol::kIcmpv6: {
      const auto* const icmp = wire::view<wire::Icmp>(l4);
      if (icmp == nullptr) return false;
      tuple.src_port = icmp->id();
      tuple.dst_port =
          Be16::from_host(static_cast<std::uint16_t>(icmp->type() << 8 | icmp->code()));
      return true;
    }
    case protocol::kGre:
      return read_gre_keys(l4, keymap, tuple);
    default:
      tuple.src_port = {};
      tuple.dst_port = {};
      return true;
  }
}

Extracted invalid(Reason reason, bool is_icmp_error = false) {
  Extracted result;
  result.reason = reason;
  result.is_icmp_error = is_icmp_error;
  return result;
}

/// Whether the checksum over the first `covered` bytes of header and payload is right, or nobody
/// needs to look.
bool is_checksum_right(packet::Packet& packet, std::size_t covered) {
  if (packet.checksum != packet::Checksum::unknown) return true;
  const Bytes l4 = packet.l4();
  wire::Sum sum = wire::sum(l4.first(covered));
  if (packet.l4_protocol != protocol::kIcmp) {
    sum += wire::pseudo_header(packet.family, packet.l3().data(), packet.l4_protocol,
                               static_cast<std::uint32_t>(l4.size()));
  }
  if (wire::finish(sum).raw != 0) return false;
  packet.checksum = packet::Checksum::verified;
  return true;
}

bool is_checksum_right(packet::Packet& packet) {
  return is_checksum_right(packet, packet.l4().size());
}

/// What is wrong with the transport header before any look-up: Reason::none when nothing is. A
/// transport that has no tracker of its own has nothing to be wrong.
Reason check_transport(packet::Packet& packet, bool verify) {
  const Bytes l4 = packet.l4();
  switch (packet.l4_protocol) {
    case protocol::kTcp: {
      const auto segment = TcpSegment::read(l4);
      if (!segment && segment.error() == Reason::truncated) return Reason::truncated;
      if (verify && !is_checksum_right(packet)) return Reason::bad_checksum;
      return segment ? Reason::none : segment.error();
    }
    case protocol::kUdp: {
      const Reason reason = check_udp(l4);
      if (reason != Reason::none) return reason;
      const bool has_checksum = wire::at<wire::Udp>(l4.data()).has_checksum();
      const bool is_wrong = verify && has_checksum && !is_checksum_right(packet);
      return is_wrong ? Reason::bad_checksum : Reason::none;
    }
    case protocol::kUdplite: {
      const auto covered = udplite_coverage(l4);
      if (!covered) return covered.error();
      return verify && !is_checksum_right(packet, *covered) ? Reason::bad_checksum : Reason::none;
    }
    case protocol::kDccp: {
      const auto header = DccpHeader::read(l4);
      if (!header) return header.error();
      const bool is_wrong = verify && !is_checksum_right(packet, header->covered_bytes);
      return is_wrong ? Reason::bad_checksum : Reason::none;
    }
    case protocol::kSctp: {
      if (l4.size() < sizeof(wire::Sctp)) return Reason::truncated;
      if (!verify || packet.checksum != packet::Checksum::unknown) return Reason::none;
      if (!is_sctp_checksum_right(l4)) return Reason::bad_checksum;
      packet.checksum = packet::Checksum::verified;
      return Reason::none;
    }
    default:
      return Reason::none;
  }
}

/// An ICMP error: the packet that it quotes, turned round, must be of a connection.
Extracted quotation(const packet::Packet& packet, Bytes quoted, const GreKeymap* keymap) {
  Extracted result;
  Tuple inner;
  inner.zone = template_zone(packet.ct, Direction::original);
  if (!read_tuple(packet.family, quoted, inner, keymap)) {
    return invalid(Reason::icmp_quote_unreadable, true);
  }
  const std::optional<Tuple> answer = invert(inner);
  if (!answer) return invalid(Reason::icmp_quote_unreadable, true);
  result.kind = Extracted::Kind::quoted;
  result.tuple = *answer;
  result.outer_dst = packet.family == wire::Family::ip
                         ? wire::at<wire::Ipv4>(packet.l3().data()).dst_address()
                         : wire::at<wire::Ipv6>(packet.l3().data()).dst_address();
  return result;
}

/// An ICMPv6 redirect: like an error when it quotes the packet, its first option; else a message of
/// its own, which can't begin a connection (nf_conntrack_icmpv6_redirect).
Extracted redirect(const packet::Packet& packet, const GreKeymap* keymap) {
  const Bytes l4 = packet.l4();
  if (l4.size() < kRedirectBytes) return invalid(Reason::truncated, true);
  if (l4[1] != 0) return invalid(Reason::icmp_not_a_beginning);
  const auto& ip = wire::at<wire::Ipv6>(packet.l3().data());
  const wire::Address src = ip.src_address();
  const bool is_link_local = src.bytes[0] == 0xfe && (src.bytes[1] & 0xc0) == 0x80;
  if (ip.hop_limit() != 255 || !is_link_local) return invalid(Reason::icmp_redirect, true);
  const Bytes option = l4.subspan(kRedirectBytes);
  if (option.size() < 2 || option[1] == 0) return invalid(Reason::icmp_redirect, true);
  if (option[0] != kRedirectedHeaderOption) return invalid(Reason::icmp_not_a_beginning);
  if (option.size() < kRedirectedHeader) return invalid(Reason::icmp_quote_unreadable, true);
  return quotation(packet, option.subspan(kRedirectedHeader), keymap);
}

Extracted own_tuple(const packet::Packet& packet, const GreKeymap* keymap) {
  Extracted result;
  Tuple& tuple = result.tuple;
  tuple.family = packet.family;
  tuple.protocol = packet.l4_protocol;
  tuple.zone = template_zone(packet.ct, Direction::original);
  const std::uint8_t* const l3 = packet.l3().data();
  if (packet.family == wire::Family::ip) {
    tuple.src = wire::at<wire::Ipv4>(l3).src_address();
    tuple.dst = wire::at<wire::Ipv4>(l3).dst_address();
  } else {
    tuple.src = wire::at<wire::Ipv6>(l3).src_address();
    tuple.dst = wire::at<wire::Ipv6>(l3).dst_address();
  }
  if (!read_ports(packet.l4(), keymap, tuple)) {
    const bool is_gre = tuple.protocol == protocol::kGre;
    return invalid(is_gre ? Reason::gre_protocol : Reason::truncated);
  }
  result.kind = Extracted::Kind::tuple;
  return result;
}

Extracted extract_icmp(packet::Packet& packet, bool verify, const GreKeymap* keymap) {
  const Bytes l4 = packet.l4();
  if (l4.size() < sizeof(wire::Icmp)) return invalid(Reason::truncated, true);
  if (verify && !is_checksum_right(packet)) return invalid(Reason::bad_checksum, true);

  const bool is_v4 = packet.family == wire::Family::ip;
  switch (is_v4 ? icmp_kind(l4[0]) : icmpv6_kind(l4[0])) {
    case IcmpKind::query:
      return own_tuple(packet, keymap);
    case IcmpKind::error:
      return quotation(packet, l4.subspan(sizeof(wire::Icmp)), keymap);
    case IcmpKind::redirect:
      return redirect(packet, keymap);
    case IcmpKind::untracked: {
      Extracted result;
      result.kind = Extracted::Kind::untracked;
      return result;
    }
    case IcmpKind::unknown:
      return invalid(Reason::icmp_type, true);
  }
  return invalid(Reason::not_trackable);
}

}  // namespace

std::uint16_t template_zone(const packet::CtRef& ct, Direction direction) {
  return (ct.zone_directions >> static_cast<unsigned>(direction) & 1) != 0 ? ct.zone : 0;
}

bool read_tuple(wire::Family family, Bytes datagram, Tuple& tuple, const GreKeymap* keymap) {
  std::size_t l4_offset = 0;
  if (family == wire::Family::ip) {
    const auto* const ip = wire::view<wire::Ipv4>(datagram);
    if (ip == nullptr || (ip->fragment_field() & wire::Ipv4::kOffsetMask) != 0) return false;
    tuple.src = ip->src_address();
    tuple.dst = ip->dst_address();
    tuple.protocol = ip->protocol();
    l4_offset = ip->header_bytes();
  } else {
    const auto* const ip = wire::view<wire::Ipv6>(datagram);
    if (ip == nullptr) return false;
    tuple.src = ip->src_address();
    tuple.dst = ip->dst_address();
    const wire::Ipv6Chain chain = wire::walk_chain(datagram);
    if (chain.is_malformed || chain.is_later_fragment) return false;
    tuple.protocol = chain.protocol;
    l4_offset = chain.transport_offset;
  }
  if (tuple.protocol == protocol::kNoNextHeader || l4_offset > datagram.size()) return false;
  tuple.family = family;
  return read_ports(datagram.subspan(l4_offset), keymap, tuple);
}

Extracted extract(packet::Packet& packet, bool verify, const GreKeymap* keymap) {
  if (packet.is_later_fragment || packet.l4_protocol == protocol::kNoNextHeader) {
    return invalid(Reason::not_trackable);
  }
  const std::uint8_t icmp = packet.family == wire::Family::ip ? protocol::kIcmp : protocol::kIcmpv6;
  if (packet.l4_protocol == icmp) return extract_icmp(packet, verify, keymap);
  const Reason reason = check_transport(packet, verify);
  return reason == Reason::none ? own_tuple(packet, keymap) : invalid(reason);
}

}  // namespace weir::conntrack
