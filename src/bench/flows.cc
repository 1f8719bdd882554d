#include "bench/flows.h"

#include <bit>
#include <cstring>

#include "wire/checksum.h"
#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/protocol.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace weir::bench {
namespace {

constexpr std::uint32_t kFrameBytes = 60;
constexpr std::uint32_t kLinkBytes = 14;
constexpr std::uint16_t kFirstPort = 1024;
constexpr std::uint32_t kPorts = 60000;
constexpr std::uint32_t kClientNetwork = 0x0a000000;  // 10.0.0.0/8
constexpr std::uint32_t kServerNetwork = 0xc6120000;  // 198.18.0.0/15, RFC 2544
constexpr std::uint16_t kServerPort = 443;

/// A number that looks random and is different for every flow (an invertible mix).
std::uint32_t mix(std::uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352d;
  x ^= x >> 15;
  x *= 0x846ca68b;
  return x ^ x >> 16;
}

wire::Address address(wire::Family family, std::uint32_t network, std::uint32_t host) {
  if (family == wire::Family::ip) return wire::Address::ip(network | host);
  wire::Address a;
  const Be32 prefix = Be32::from_host(0x20010db8);
  const Be32 middle = Be32::from_host(network);
  const Be32 low = Be32::from_host(host);
  std::memcpy(a.bytes.data(), &prefix, 4);
  std::memcpy(a.bytes.data() + 4, &middle, 4);
  std::memcpy(a.bytes.data() + 12, &low, 4);
  return a;
}

/// Writes the transport header with its checksum; `pseudo` is the pseudo-header's sum.
void write_transport(MutableBytes l4, const conntrack::Tuple& tuple, const Look& look,
                     wire::Sum pseudo) {
  std::memset(l4.data(), 0, l4.size());
  store(l4.data() + l4.size() - sizeof look.marker, look.marker);
  store(l4.data(), tuple.src_port);
  store(l4.data() + 2, tuple.dst_port);
  std::size_t checksum_at = 6;
  if (tuple.protocol == wire::protocol::kTcp) {
    store(l4.data() + 4, Be32::from_host(look.sequence));
    store(l4.data() + 8, Be32::from_host(look.acknowledgment));
    l4[12] = 5 << 4;
    l4[13] = look.tcp_flags;
    store(l4.data() + 14, Be16::from_host(0xffff));
    checksum_at = 16;
  } else {
    store(l4.data() + 4, Be16::from_host(static_cast<std::uint16_t>(l4.size())));
  }
  Be16 checksum = wire::finish(pseudo + wire::sum(l4));
  if (tuple.protocol == wire::protocol::kUdp) checksum = wire::udp_nonzero(checksum);
  store(l4.data() + checksum_at, checksum);
}

}  // namespace

conntrack::Tuple Flows::original(std::uint32_t flow) const {
  // 24 bits of the client's address tell 16M flows apart, the port tells the rest.
  const std::uint32_t host = mix(flow) & 0xffffff;
  conntrack::Tuple tuple;
  tuple.family = family;
  tuple.protocol = protocol;
  tuple.src = address(family, kClientNetwork, flow & 0xffffff);
  tuple.dst = address(family, kServerNetwork, host & 0x1ffff);
  tuple.src_port =
      Be16::from_host(static_cast<std::uint16_t>(kFirstPort + (flow / 0x1000000 + host) % kPorts));
  tuple.dst_port = Be16::from_host(kServerPort);
  return tuple;
}

std::uint32_t Flows::at(std::uint32_t position) const {
  // Multiplying by an odd number permutes a power of two; positions that fall outside walk on.
  const std::uint32_t mask = std::bit_ceil(count) - 1;
  std::uint32_t flow = position;
  do {
    flow = (flow * 2654435769u + 12345) & mask;
  } while (flow >= count);
  return flow;
}

void write_frame(packet::Packet& packet, const conntrack::Tuple& tuple, const Look& look) {
  const bool is_ip = tuple.family == wire::Family::ip;
  const std::uint32_t header_bytes = is_ip ? sizeof(wire::Ipv4) : sizeof(wire::Ipv6);
  const std::uint32_t least_l4 =
      (tuple.protocol == wire::protocol::kTcp ? 20 : 8) + sizeof look.marker;
  const std::uint32_t l4_bytes =
      std::max(least_l4, kFrameBytes - kLinkBytes - std::min(header_bytes, 20u));
  packet.length = kLinkBytes + header_bytes + l4_bytes;

  auto& ethernet = wire::at<wire::Ethernet>(packet.frame());
  ethernet.set_dst({2, 0, 0, 0, 0, 1});
  ethernet.set_src({2, 0, 0, 0, 0, 2});
  ethernet.set_type(wire::ethertype_of(tuple.family));
  std::uint8_t* const l3 = packet.frame() + kLinkBytes;
  std::memset(l3, 0, header_bytes);
  if (is_ip) {
    auto& ip = wire::at<wire::Ipv4>(l3);
    ip.set_version_and_header_bytes(header_bytes);
    ip.set_total_bytes(static_cast<std::uint16_t>(header_bytes + l4_bytes));
    ip.set_ttl(64);
    ip.set_protocol(tuple.protocol);
    ip.set_src(tuple.src.v4());
    ip.set_dst(tuple.dst.v4());
    ip.fill_checksum();
  } else {
    auto& ip6 = wire::at<wire::Ipv6>(l3);
    ip6.set_first_word(0, 0);
    ip6.set_payload_bytes(static_cast<std::uint16_t>(l4_bytes));
    ip6.set_next_header(tuple.protocol);
    ip6.set_hop_limit(64);
    ip6.set_src(tuple.src);
    ip6.set_dst(tuple.dst);
  }
  const wire::Sum pseudo =
      wire::pseudo_header(tuple.family, tuple.src, tuple.dst, tuple.protocol, l4_bytes);
  write_transport({l3 + header_bytes, l4_bytes}, tuple, look, pseudo);
}

std::uint32_t marker_of(const packet::Packet& packet) {
  return load<std::uint32_t>(packet.l4().data() + packet.l4().size() - sizeof(std::uint32_t));
}

conntrack::Tuple turned(const conntrack::Tuple& tuple) {
  conntrack::Tuple other = tuple;
  std::swap(other.src, other.dst);
  std::swap(other.src_port, other.dst_port);
  return other;
}

}  // namespace weir::bench
