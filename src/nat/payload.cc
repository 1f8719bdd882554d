// The one place that changes payloads. Helpers only say where; lengths, room and checksums are
// looked after here, and checked here.

#include "nat/payload.h"

#include <cstring>

#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/protocol.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace weir::nat {
namespace {

using packet::Checksum;
using packet::Gso;
using packet::Packet;
using wire::Family;

/// Zero when there is no such header.
std::size_t transport_header_bytes(const Packet& packet) {
  if (packet.is_later_fragment) return 0;
  const Bytes l4 = packet.l4();
  if (packet.l4_protocol == wire::protocol::kUdp) {
    return l4.size() >= sizeof(wire::Udp) ? sizeof(wire::Udp) : 0;
  }
  if (packet.l4_protocol != wire::protocol::kTcp || l4.size() < sizeof(wire::Tcp)) return 0;
  const std::size_t bytes = wire::at<wire::Tcp>(l4.data()).header_bytes();
  return bytes >= sizeof(wire::Tcp) && bytes <= l4.size() ? bytes : 0;
}

std::size_t longest_datagram(Family family) {
  return family == Family::ip ? 0xffff : sizeof(wire::Ipv6) + 0xffff;
}

/// Makes the hole for `text_bytes` at `at` (from the frame's start), where `length` bytes are now.
bool resize(Packet& packet, std::size_t at, std::size_t length, std::size_t text_bytes) {
  const std::size_t end = packet.l3_offset + packet.ip_length;  // Behind it is padding.
  const std::size_t tail = end - at - length;
  if (text_bytes <= length || text_bytes - length <= packet.tailroom() + (packet.length - end)) {
    std::memmove(packet.frame() + at + text_bytes, packet.frame() + at + length, tail);
  } else {
    const std::size_t more = text_bytes - length;
    if (more > packet.headroom()) return false;
    std::memmove(packet.frame() - more, packet.frame(), at);
    packet.start -= static_cast<std::uint32_t>(more);
  }
  packet.ip_length += static_cast<std::uint32_t>(text_bytes - length);
  packet.length = packet.l3_offset + packet.ip_length;
  return true;
}

void fix_ip(Packet& packet) {
  std::uint8_t* const l3 = packet.frame() + packet.l3_offset;
  if (packet.family == Family::ip) {
    auto& ip = wire::at<wire::Ipv4>(l3);
    const Be16 from = load<Be16>(l3 + 2);
    const Be16 to = Be16::from_host(static_cast<std::uint16_t>(packet.ip_length));
    store(l3 + 2, to);
    store(l3 + 10, wire::updated(ip.checksum(), from, to));
  } else {
    const auto bytes = static_cast<std::uint16_t>(packet.ip_length - sizeof(wire::Ipv6));
    store(l3 + 4, Be16::from_host(bytes));
  }
}

/// Anew, over the whole payload: a connection's few announcements are worth it.
void fix_transport(Packet& packet) {
  const MutableBytes l4 = packet.l4();
  const bool is_udp = packet.l4_protocol == wire::protocol::kUdp;
  const std::size_t field = is_udp ? wire::Udp::kChecksumOffset : wire::Tcp::kChecksumOffset;
  if (is_udp) {
    store(&l4[4], Be16::from_host(static_cast<std::uint16_t>(l4.size())));
    const bool has_none = load<Be16>(&l4[field]).raw == 0 && packet.checksum != Checksum::partial;
    if (has_none) return;
  }
  const wire::Sum pseudo =
      wire::pseudo_header(packet.family, packet.frame() + packet.l3_offset, packet.l4_protocol,
                          static_cast<std::uint32_t>(l4.size()));
  if (packet.checksum == Checksum::partial) {
    store(&l4[field], wire::fold(pseudo));
    return;
  }
  store(&l4[field], Be16{0});
  const Be16 sum = wire::finish(pseudo + wire::sum(l4));
  store(&l4[field], is_udp ? wire::udp_nonzero(sum) : sum);
}

/// Grown beyond the MTU: to be cut into segments of the size that it had.
void segment_later(Packet& packet, std::size_t payload_bytes_before) {
  const bool is_due = packet.l4_protocol == wire::protocol::kTcp &&
                      packet.gso.type == Gso::Type::none && packet.path_mtu != 0 &&
                      packet.ip_length > packet.path_mtu && packet.fragment_count == 0;
  if (!is_due) return;
  packet.gso = {.type = packet.family == Family::ip ? Gso::Type::tcp4 : Gso::Type::tcp6,
                .segment_bytes = static_cast<std::uint16_t>(payload_bytes_before)};
  if (packet.checksum == Checksum::partial) return;
  packet.checksum = Checksum::partial;
  packet.csum_start = packet.l4_offset;
  packet.csum_offset = wire::Tcp::kChecksumOffset;
}

}  // namespace

MutableBytes payload_of(Packet& packet) {
  const std::size_t header = transport_header_bytes(packet);
  return header == 0 ? MutableBytes{} : packet.l4().subspan(header);
}

bool replace(Packet& packet, std::size_t offset, std::size_t length, Bytes text) {
  const std::size_t header = transport_header_bytes(packet);
  if (header == 0) return false;
  const std::size_t payload_bytes = packet.l4().size() - header;
  if (offset > payload_bytes || length > payload_bytes - offset) return false;
  if (packet.ip_length - length + text.size() > longest_datagram(packet.family)) return false;

  const std::size_t at = packet.l4_offset + header + offset;
  if (!resize(packet, at, length, text.size())) return false;
  std::memcpy(packet.frame() + at, text.data(), text.size());
  fix_ip(packet);
  segment_later(packet, payload_bytes);
  fix_transport(packet);
  return true;
}

}  // namespace weir::nat
