// Writing translated addresses and ports into packets.
//
// Every changed field changes up to three checksums: the IPv4 header's, the transport's (which
// covers addresses through the pseudo-header, RFC 9293 section 3.1) and, in a packet that an ICMP
// error quotes, the error's, which covers the quote with all its checksums. Each is updated by the
// difference (RFC 1624), so a checksum that was wrong stays wrong, and a payload is never read. The
// exception is SCTP, whose CRC32c covers its ports and has no pseudo-header: when a port changes it
// is computed anew.

#include "nat/rewrite.h"

#include "wire/checksum.h"
#include "wire/crc32c.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/protocol.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace weir::nat {
namespace {

using conntrack::Tuple;
using wire::Address;
using wire::ChecksumDelta;
using wire::Family;

/// The headers of a packet, or of one that an ICMP error quotes.
struct Headers {
  Family family = Family::none;
  std::uint8_t* ip = nullptr;
  std::uint8_t protocol = 0;
  MutableBytes transport{};  // As much as is there; none in a later fragment.
  bool is_partial = false;   // The transport checksum is unfinished.
};

/// Where the part of the transport header lies that NAT changes.
struct Field {
  static constexpr std::size_t kNone = 0xff;
  std::size_t offset = kNone;           // Of the port or id.
  std::size_t checksum_offset = kNone;  // Of the checksum.
  bool is_crc = false;                  // SCTP.
  bool covers_addresses = true;         // Through the pseudo-header.
  bool zero_is_none = false;            // UDP: no checksum.
  std::size_t needed_bytes = 0;  // Of the transport header, so that the field may be changed.
};

bool has_id(Family family, std::uint8_t type) {
  if (family == Family::ip6) {
    return type == wire::icmpv6::kEcho || type == wire::icmpv6::kEchoReply;
  }
  switch (type) {
    case wire::icmp::kEcho:
    case wire::icmp::kEchoReply:
    case wire::icmp::kTimestamp:
    case wire::icmp::kTimestampReply:
    case wire::icmp::kInformation:
    case wire::icmp::kInformationReply:
    case wire::icmp::kAddressMask:
    case wire::icmp::kAddressMaskReply:
      return true;
    default:
      return false;
  }
}

/// PPTP's call id, which is the receiver's (RFC 2637 section 4.1): the source key is not in the
/// packet.
bool has_call_id(const Headers& headers, Manip manip) {
  const auto* const gre = wire::view<wire::Gre>(headers.transport);
  return manip == Manip::dst && gre != nullptr && gre->version() == 1;
}

Field field_of(const Headers& headers, Manip manip) {
  namespace protocol = wire::protocol;
  const std::size_t port_offset = manip == Manip::src ? 0 : 2;
  switch (headers.protocol) {
    case protocol::kTcp:
      // Errors quote at least 8 bytes (RFC 792): the ports, but not always the checksum.
      return {
          .offset = port_offset, .checksum_offset = wire::Tcp::kChecksumOffset, .needed_bytes = 8};
    case protocol::kUdp:
      return {.offset = port_offset,
              .checksum_offset = wire::Udp::kChecksumOffset,
              .zero_is_none = true,
              .needed_bytes = 8};
    case protocol::kUdplite:
      return {
          .offset = port_offset, .checksum_offset = wire::Udp::kChecksumOffset, .needed_bytes = 8};
    case protocol::kDccp:
      return {
          .offset = port_offset, .checksum_offset = wire::Dccp::kChecksumOffset, .needed_bytes = 8};
    case protocol::kSctp:
      return {.offset = port_offset,
              .checksum_offset = wire::Sctp::kChecksumOffset,
              .is_crc = true,
              .covers_addresses = false,
              .needed_bytes = 8};
    case protocol::kGre:
      if (!has_call_id(headers, manip)) return {};
      return {.offset = 6, .covers_addresses = false, .needed_bytes = 8};
    case protocol::kIcmp:
    case protocol::kIcmpv6: {
      const bool is_id = !headers.transport.empty() && has_id(headers.family, headers.transport[0]);
      return {.offset = is_id ? 4 : Field::kNone,
              .checksum_offset = wire::Icmp::kChecksumOffset,
              .covers_addresses = headers.protocol == protocol::kIcmpv6,
              .needed_bytes = 8};
    }
    default:
      return {};  // Only the addresses.
  }
}

Be16 value_of(const Headers& headers, Manip manip, const Tuple& target) {
  const bool is_icmp =
      headers.protocol == wire::protocol::kIcmp || headers.protocol == wire::protocol::kIcmpv6;
  return manip == Manip::src || is_icmp ? target.src_port : target.dst_port;
}

/// Writes a field; what covers it is told by `written`.
void put(std::uint8_t* at, Be16 value, ChecksumDelta& written) {
  written.replace(load<Be16>(at), value);
  store(at, value);
}

/// Writes one address. Returns the difference for pseudo-headers.
ChecksumDelta put_address(const Headers& headers, Manip manip, const Address& to,
                          ChecksumDelta& written) {
  ChecksumDelta addresses;
  if (headers.family == Family::ip) {
    auto& ip = wire::at<wire::Ipv4>(headers.ip);
    const Be32 from = manip == Manip::src ? ip.src() : ip.dst();
    if (from == to.v4()) return addresses;
    addresses.replace(from, to.v4());
    written.replace(from, to.v4());
    manip == Manip::src ? ip.set_src(to.v4()) : ip.set_dst(to.v4());
    put(ip.raw + 10, addresses.apply(ip.checksum()), written);
    return addresses;
  }
  auto& ip = wire::at<wire::Ipv6>(headers.ip);
  const Address from = manip == Manip::src ? ip.src_address() : ip.dst_address();
  if (from == to) return addresses;
  addresses.replace(from, to);
  written.replace(from, to);
  manip == Manip::src ? ip.set_src(to) : ip.set_dst(to);
  return addresses;
}

void put_crc(MutableBytes sctp, ChecksumDelta& written) {
  std::uint8_t* const at = &sctp[wire::Sctp::kChecksumOffset];
  const Be32 crc = wire::sctp_checksum(sctp);
  written.replace(load<Be32>(at), crc);
  store(at, crc);
}

/// Brings the transport checksum up to date.
void put_checksum(const Headers& headers, const Field& field, const ChecksumDelta& addresses,
                  const ChecksumDelta& covered, ChecksumDelta& written) {
  if (field.checksum_offset == Field::kNone) return;
  const std::size_t checksum_bytes = field.is_crc ? 4 : 2;
  if (field.checksum_offset + checksum_bytes > headers.transport.size()) return;  // Not quoted.
  if (field.is_crc) {
    if (!headers.is_partial && !covered.is_nothing()) put_crc(headers.transport, written);
    return;
  }
  std::uint8_t* const at = &headers.transport[field.checksum_offset];
  const Be16 from = load<Be16>(at);
  if (headers.is_partial) {
    if (!addresses.is_nothing()) put(at, addresses.apply_partial(from), written);
    return;
  }
  if (covered.is_nothing() || (field.zero_is_none && from.raw == 0)) return;
  const Be16 to = covered.apply(from);
  put(at, field.zero_is_none ? wire::udp_nonzero(to) : to, written);
}

/// Whether all that is to be changed is there.
bool can_write(const Headers& headers, Manip manip) {
  return headers.transport.empty() ||
         headers.transport.size() >= field_of(headers, manip).needed_bytes;
}

/// Writes one side of `target` into the headers. Returns the difference of all that was written,
/// for a checksum that covers the headers.
ChecksumDelta write(const Headers& headers, Manip manip, const Tuple& target) {
  ChecksumDelta written;
  const Address& to = manip == Manip::src ? target.src : target.dst;
  const ChecksumDelta addresses = put_address(headers, manip, to, written);
  const Field field = field_of(headers, manip);
  if (headers.transport.empty()) return written;

  ChecksumDelta covered = field.covers_addresses ? addresses : ChecksumDelta{};
  if (field.offset != Field::kNone) {
    std::uint8_t* const at = &headers.transport[field.offset];
    const Be16 from = load<Be16>(at);
    const Be16 value = value_of(headers, manip, target);
    if (from != value) {
      covered.replace(from, value);
      put(at, value, written);
    }
  }
  put_checksum(headers, field, addresses, covered, written);
  return written;
}

Headers headers_of(packet::Packet& packet) {
  return {.family = packet.family,
          .ip = packet.frame() + packet.l3_offset,
          .protocol = packet.l4_protocol,
          .transport = packet.is_later_fragment ? MutableBytes{} : packet.l4(),
          .is_partial = packet.checksum == packet::Checksum::partial &&
                        packet.csum_start == packet.l4_offset};
}

/// The headers of the packet that an error quotes; `ip` is null when they can't be followed.
Headers quoted_headers(Family family, MutableBytes quote) {
  Headers headers{.family = family};
  std::size_t transport = 0;
  if (family == Family::ip) {
    const auto* const ip = wire::view<wire::Ipv4>(quote);
    if (ip == nullptr || ip->version() != 4 || ip->header_bytes() < sizeof(wire::Ipv4))
      return headers;
    if ((ip->fragment_field() & wire::Ipv4::kOffsetMask) != 0) return headers;
    headers.protocol = ip->protocol();
    transport = ip->header_bytes();
  } else {
    const auto* const ip = wire::view<wire::Ipv6>(quote);
    if (ip == nullptr || ip->version() != 6) return headers;
    const wire::Ipv6Chain chain = wire::walk_chain(quote);
    if (chain.is_malformed || chain.is_later_fragment) return headers;
    headers.protocol = chain.protocol;
    transport = chain.transport_offset;
  }
  if (transport >= quote.size()) return headers;
  headers.ip = quote.data();
  headers.transport = quote.subspan(transport);
  return headers;
}

/// What most packets need: address and port of TCP or UDP over IPv4 with finished checksums. False,
/// and nothing done, for any other.
bool rewrite_plain(packet::Packet& packet, Manip manip, const Tuple& target) {
  const bool is_udp = packet.l4_protocol == wire::protocol::kUdp;
  const std::size_t checksum_offset =
      is_udp ? wire::Udp::kChecksumOffset : wire::Tcp::kChecksumOffset;
  const bool is_plain = packet.family == Family::ip &&
                        (is_udp || packet.l4_protocol == wire::protocol::kTcp) &&
                        !packet.is_later_fragment && packet.l4().size() >= checksum_offset + 2 &&
                        packet.checksum != packet::Checksum::partial;
  if (!is_plain) return false;

  auto& ip = wire::at<wire::Ipv4>(packet.frame() + packet.l3_offset);
  const bool is_src = manip == Manip::src;
  const Be32 from = is_src ? ip.src() : ip.dst();
  const Be32 to = is_src ? target.src.v4() : target.dst.v4();
  ChecksumDelta delta;
  delta.replace(from, to);
  ip.set_checksum(from == to ? ip.checksum() : delta.apply(ip.checksum()));
  is_src ? ip.set_src(to) : ip.set_dst(to);

  std::uint8_t* const l4 = packet.frame() + packet.l4_offset;
  std::uint8_t* const port = l4 + (is_src ? 0 : 2);
  const Be16 from_port = load<Be16>(port);
  const Be16 to_port = is_src ? target.src_port : target.dst_port;
  const Be16 checksum = load<Be16>(l4 + checksum_offset);
  const bool is_same = from == to && from_port == to_port;
  if (is_same || (is_udp && checksum.raw == 0)) {
    store(port, to_port);
    return true;
  }
  delta.replace(from_port, to_port);
  store(port, to_port);
  const Be16 updated = delta.apply(checksum);
  store(l4 + checksum_offset, is_udp ? wire::udp_nonzero(updated) : updated);
  return true;
}

}  // namespace

bool rewrite(packet::Packet& packet, Manip manip, const Tuple& target) {
  if (rewrite_plain(packet, manip, target)) return true;
  const Headers headers = headers_of(packet);
  if (!can_write(headers, manip)) return false;
  write(headers, manip, target);
  return true;
}

bool rewrite_error(packet::Packet& packet, Manip manip, const Tuple& outer, const Tuple& inner) {
  const MutableBytes error = packet.l4();
  if (packet.is_later_fragment || error.size() < sizeof(wire::Icmp)) return false;
  const Headers quoted = quoted_headers(packet.family, error.subspan(sizeof(wire::Icmp)));
  const Manip other = manip == Manip::src ? Manip::dst : Manip::src;
  if (quoted.ip == nullptr || !can_write(quoted, other)) return false;

  const ChecksumDelta changed = write(quoted, other, inner);
  auto& icmp = wire::at<wire::Icmp>(error.data());
  if (!changed.is_nothing()) icmp.set_checksum(changed.apply(icmp.checksum()));
  write(headers_of(packet), manip, outer);
  return true;
}

}  // namespace weir::nat
