#include "pipeline/header_check.h"

#include <array>
#include <cstring>

#include "wire/checksum.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/protocol.h"

namespace weir::pipeline {
namespace {

using packet::Drop;
using packet::Packet;

constexpr std::size_t kEthernetBytes = sizeof(wire::Ethernet);

/// Moves the frame's VLAN tags to the packet, outermost first. False when there are more than it
/// holds.
bool take_vlan_tags(Packet& packet) {
  while (packet.length >= kEthernetBytes + sizeof(wire::Vlan)) {
    const auto& tag = wire::at<wire::Vlan>(packet.frame() + 12);
    if (!wire::is_vlan(tag.protocol())) return true;
    if (packet.vlan_count == packet.vlan.size()) return false;
    packet.vlan[packet.vlan_count++] = {.protocol = tag.protocol(), .tci = tag.tci()};
    std::memmove(packet.frame() + sizeof(wire::Vlan), packet.frame(), 12);
    packet.start += sizeof(wire::Vlan);
    packet.length -= sizeof(wire::Vlan);
    if (packet.checksum == packet::Checksum::partial) packet.csum_start -= sizeof(wire::Vlan);
  }
  return !wire::is_vlan(wire::at<wire::Ethernet>(packet.frame()).type());
}

/// Cuts Ethernet's padding off.
void trim(Packet& packet, std::uint32_t ip_bytes) {
  packet.ip_length = ip_bytes;
  packet.length = packet.l3_offset + ip_bytes;
}

/// ip_rcv_core; RFC 1122 section 3.2.1, RFC 1812 section 5.2.2.
Drop check_ip(Packet& packet) {
  const Bytes l3 = packet.bytes().subspan(packet.l3_offset);
  const auto* const ip = wire::view<wire::Ipv4>(l3);
  if (ip == nullptr) return Drop::truncated;
  const std::size_t header_bytes = ip->header_bytes();
  if (ip->version() != 4 || header_bytes < sizeof(wire::Ipv4)) return Drop::bad_ip_header;
  if (header_bytes > l3.size()) return Drop::truncated;
  if (wire::finish(wire::sum(l3.first(header_bytes))).raw != 0) return Drop::bad_ip_checksum;
  const std::size_t total = ip->total_bytes();
  if (total > l3.size()) return Drop::truncated;
  if (total < header_bytes) return Drop::bad_ip_header;

  trim(packet, static_cast<std::uint32_t>(total));
  packet.family = wire::Family::ip;
  packet.l4_protocol = ip->protocol();
  packet.l4_offset = static_cast<std::uint16_t>(packet.l3_offset + header_bytes);
  packet.is_fragment = ip->is_fragment();
  packet.is_later_fragment = ip->fragment_offset_bytes() != 0;
  return Drop::none;
}

/// What ip6_rcv_core refuses by the addresses alone; RFC 4291 sections 2.5.3, 2.7.
Drop check_ip6_addresses(const wire::Ipv6& ip) {
  constexpr std::array<std::uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  const wire::Address src = ip.src_address();
  const wire::Address dst = ip.dst_address();
  wire::Address loopback;
  loopback.bytes[15] = 1;
  if (src == loopback || src.bytes[0] == 0xff) return Drop::not_forwardable_source;
  if (std::memcmp(src.bytes.data(), kMapped.data(), kMapped.size()) == 0) {
    return Drop::not_forwardable_source;
  }
  if (dst == loopback) return Drop::not_forwardable_destination;
  // Multicast scopes 0 (reserved) and 1 (interface-local) never cross a link.
  if (dst.bytes[0] == 0xff && (dst.bytes[1] & 0x0f) <= 1) return Drop::not_forwardable_destination;
  return Drop::none;
}

/// Options that every router looks at (RFC 8200 sections 4.2, 4.3; ip6_parse_tlv): at most eight
/// that are not padding, at most seven bytes of padding in a row, all zero; unknown ones by their
/// two highest bits. Jumbograms don't fit into our buffers.
bool are_hop_options_fine(Bytes options) {
  constexpr unsigned kMaxOptions = 8;
  constexpr std::size_t kMaxPadding = 7;
  unsigned count = 0;
  std::size_t padding = 0;
  while (!options.empty()) {
    const std::uint8_t type = options[0];
    if (type == wire::ipv6_option::kPad1) {
      if (++padding > kMaxPadding) return false;
      options = options.subspan(1);
      continue;
    }
    if (options.size() < 2 || options.size() < options[1] + std::size_t{2}) return false;
    const Bytes data = options.subspan(2, options[1]);
    if (type == wire::ipv6_option::kPadN) {
      padding += data.size() + 2;
      if (padding > kMaxPadding) return false;
      for (const std::uint8_t byte : data) {
        if (byte != 0) return false;
      }
    } else {
      padding = 0;
      if (++count > kMaxOptions) return false;
      if (type == wire::ipv6_option::kRouterAlert) {
        if (data.size() != 2) return false;
      } else if ((type & 0xc0) != 0) {
        return false;
      }
    }
    options = options.subspan(data.size() + 2);
  }
  return true;
}

/// ip6_rcv_core.
Drop check_ip6(Packet& packet) {
  const Bytes l3 = packet.bytes().subspan(packet.l3_offset);
  const auto* const ip = wire::view<wire::Ipv6>(l3);
  if (ip == nullptr) return Drop::truncated;
  if (ip->version() != 6) return Drop::bad_ip_header;
  const Drop refused = check_ip6_addresses(*ip);
  if (refused != Drop::none) return refused;
  const std::size_t total = sizeof(wire::Ipv6) + ip->payload_bytes();
  if (total > l3.size()) return Drop::truncated;

  trim(packet, static_cast<std::uint32_t>(total));
  const Bytes datagram = packet.l3();
  if (ip->next_header() == wire::protocol::kHopByHop) {
    if (datagram.size() < 48) return Drop::bad_extension_header;
    const std::size_t bytes = wire::extension_header_bytes(wire::protocol::kHopByHop, datagram[41]);
    if (datagram.size() < 40 + bytes) return Drop::bad_extension_header;
    if (!are_hop_options_fine(datagram.subspan(42, bytes - 2))) return Drop::bad_extension_header;
  }

  const wire::Ipv6Chain chain = wire::walk_chain(datagram);
  packet.family = wire::Family::ip6;
  packet.l4_protocol = chain.protocol;
  packet.l4_offset = static_cast<std::uint16_t>(
      packet.l3_offset + (chain.is_malformed ? packet.ip_length : chain.transport_offset));
  packet.is_fragment = chain.has_fragment_header;
  packet.is_later_fragment = chain.is_later_fragment;
  // Without a whole fragment header there is nothing to reassemble.
  if (chain.is_malformed && chain.has_fragment_header) return Drop::bad_extension_header;
  return Drop::none;
}

HeaderVerdict dropped(Packet& packet, Drop why) {
  packet.drop = why;
  return HeaderVerdict::drop;
}

}  // namespace

HeaderVerdict check_headers(Packet& packet) {
  if (packet.link_type == packet::LinkType::other_host) return dropped(packet, Drop::other_host);
  if (packet.length < kEthernetBytes) return dropped(packet, Drop::truncated);
  if (!take_vlan_tags(packet)) return HeaderVerdict::to_host;

  packet.l3_offset = kEthernetBytes;
  const Be16 type = wire::at<wire::Ethernet>(packet.frame()).type();
  Drop why = Drop::none;
  if (type == wire::ethertype::kIpv4) {
    why = check_ip(packet);
  } else if (type == wire::ethertype::kIpv6) {
    why = check_ip6(packet);
  } else {
    return HeaderVerdict::to_host;
  }
  return why == Drop::none ? HeaderVerdict::ok : dropped(packet, why);
}

}  // namespace weir::pipeline
