#include "replay/prepare.h"

#include <algorithm>

#include "packet/checksum.h"
#include "wire/checksum.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/protocol.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace weir::replay {
namespace {

using packet::Drop;
using packet::Packet;
using pipeline::HeaderVerdict;

/// After a header check that failed: whether the IPv4 header is one that the device was to finish,
/// and is finished now.
bool finish_ip_header(Packet& packet) {
  auto* const ip = wire::view<wire::Ipv4>(packet.bytes(), packet.l3_offset);
  if (ip == nullptr || ip->version() != 4 || ip->header_bytes() < sizeof(wire::Ipv4)) return false;
  const std::size_t l3_bytes = packet.length - packet.l3_offset;
  if (ip->header_bytes() > l3_bytes) return false;
  const bool lacks_length = ip->total_bytes() == 0 && ip->protocol() == wire::protocol::kTcp;
  const bool lacks_checksum = ip->checksum().raw == 0;
  if (!lacks_checksum && !(lacks_length && packet.drop == Drop::bad_ip_header)) return false;
  if (lacks_length)
    ip->set_total_bytes(static_cast<std::uint16_t>(std::min<std::size_t>(l3_bytes, 0xffff)));
  ip->fill_checksum();
  return true;
}

/// Where the checksum is in the transport header, and whether it covers a pseudo-header;
/// size_t(-1): nowhere.
struct Field {
  std::size_t offset = static_cast<std::size_t>(-1);
  bool has_pseudo_header = true;
  bool zero_is_none = false;
};

Field field_of(const Packet& packet) {
  switch (packet.l4_protocol) {
    case wire::protocol::kTcp:
      return {.offset = wire::Tcp::kChecksumOffset};
    case wire::protocol::kUdp:
      return {.offset = wire::Udp::kChecksumOffset, .zero_is_none = true};
    case wire::protocol::kIcmp:
      return {.offset = wire::Icmp::kChecksumOffset, .has_pseudo_header = false};
    case wire::protocol::kIcmpv6:
      return {.offset = wire::Icmp::kChecksumOffset};
    default:
      return {};
  }
}

bool finish_transport(Packet& packet) {
  if (packet.is_fragment || packet::verify_checksum(packet)) return false;
  const Field field = field_of(packet);
  const MutableBytes l4 = packet.l4();
  if (l4.size() < 2 || field.offset > l4.size() - 2) return false;

  const auto pseudo_header = [&](std::size_t l4_bytes) {
    if (!field.has_pseudo_header) return Be16{};
    return wire::fold(wire::pseudo_header(packet.family, packet.l3().data(), packet.l4_protocol,
                                          static_cast<std::uint32_t>(l4_bytes)));
  };
  const Be16 found = load<Be16>(&l4[field.offset]);
  const Be16 partial = pseudo_header(l4.size());
  const bool is_empty = found.raw == 0 && !field.zero_is_none;
  if (!is_empty && found != partial && found != pseudo_header(0)) return false;
  store(&l4[field.offset], partial);
  packet.checksum = packet::Checksum::partial;
  packet.csum_start = packet.l4_offset;
  packet.csum_offset = static_cast<std::uint16_t>(field.offset);
  return true;
}

bool mark_offloaded(Packet& packet, std::uint32_t mtu_bytes) {
  const bool is_tcp = packet.l4_protocol == wire::protocol::kTcp;
  if (packet.ip_length <= mtu_bytes || packet.is_fragment || !is_tcp) return false;
  const auto* const tcp = wire::view<wire::Tcp>(packet.l4());
  if (tcp == nullptr || tcp->header_bytes() < sizeof(wire::Tcp)) return false;
  const std::size_t headers = packet.l4_offset - packet.l3_offset + tcp->header_bytes();
  if (headers >= std::min(packet.ip_length, mtu_bytes)) return false;
  packet.gso.type =
      packet.family == wire::Family::ip ? packet::Gso::Type::tcp4 : packet::Gso::Type::tcp6;
  packet.gso.segment_bytes = static_cast<std::uint16_t>(mtu_bytes - headers);
  return true;
}

}  // namespace

Prepared prepare(Packet& packet, bool strict, std::uint32_t mtu_bytes) {
  Prepared done{.verdict = pipeline::check_headers(packet)};
  const bool may_be_unfinished =
      packet.drop == Drop::bad_ip_checksum || packet.drop == Drop::bad_ip_header;
  if (!strict && done.verdict == HeaderVerdict::drop && may_be_unfinished &&
      finish_ip_header(packet)) {
    packet.drop = Drop::none;
    done.ip_was_repaired = true;
    done.verdict = pipeline::check_headers(packet);
  }
  packet.drop = Drop::none;  // The path finds it itself.
  if (done.verdict != HeaderVerdict::ok) return done;
  done.transport_was_repaired = !strict && finish_transport(packet);
  done.is_offloaded = mark_offloaded(packet, mtu_bytes);
  return done;
}

}  // namespace weir::replay
