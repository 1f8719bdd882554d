#include "nat/test_packet.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "wire/protocol.h"

namespace weir::nat::test {
namespace {

using wire::Family;

constexpr std::size_t kEthernet = 14;

bool is_icmp(std::uint8_t protocol) { return protocol == 1 || protocol == 58; }

void put16(Octets& out, std::uint32_t value) {
  out.push_back(static_cast<std::uint8_t>(value >> 8));
  out.push_back(static_cast<std::uint8_t>(value));
}
void put(Octets& out, Bytes bytes) { out.insert(out.end(), bytes.begin(), bytes.end()); }
void set16(Octets& out, std::size_t at, std::uint32_t value) {
  out[at] = static_cast<std::uint8_t>(value >> 8);
  out[at + 1] = static_cast<std::uint8_t>(value);
}
std::uint32_t get16(const Octets& in, std::size_t at) { return in[at] << 8U | in[at + 1]; }

/// The folded ones-complement sum, RFC 1071 section 4.1 to the letter.
std::uint32_t sum(Bytes bytes, std::uint32_t start = 0) {
  std::uint32_t total = start;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    total += i % 2 == 0 ? std::uint32_t{bytes[i]} << 8 : bytes[i];
    total = (total & 0xffff) + (total >> 16);
  }
  return total;
}

std::size_t checksum_offset(std::uint8_t protocol) {
  if (protocol == wire::protocol::kTcp) return 16;
  return is_icmp(protocol) ? 2 : 6;
}

std::uint8_t protocol_of(const Octets& datagram) {
  if (datagram[0] >> 4 == 4) return datagram[9];
  return datagram[6] == 0 ? datagram[40] : datagram[6];
}

std::uint32_t pseudo_sum(const Octets& datagram, std::size_t transport_bytes) {
  const std::uint8_t protocol = protocol_of(datagram);
  if (protocol == wire::protocol::kIcmp) return 0;
  const bool is_ip4 = datagram[0] >> 4 == 4;
  const Bytes addresses = is_ip4 ? Bytes(datagram).subspan(12, 8) : Bytes(datagram).subspan(8, 32);
  std::uint32_t total = sum(addresses);
  total = sum({}, total + protocol);
  total += static_cast<std::uint32_t>(transport_bytes);
  while (total > 0xffff) total = (total & 0xffff) + (total >> 16);
  return total;
}

std::size_t transport_bytes_of(const Octets& datagram) {
  const std::size_t total = datagram[0] >> 4 == 4 ? get16(datagram, 2) : 40 + get16(datagram, 4);
  return total - transport_offset(datagram);
}

Octets ip_header(const conntrack::Tuple& tuple, std::size_t transport_bytes,
                 std::size_t option_words) {
  Octets out;
  if (tuple.family == Family::ip) {
    const std::size_t header = 20 + option_words * 4;
    out = {static_cast<std::uint8_t>(0x40 | header / 4), 0};
    put16(out, static_cast<std::uint32_t>(header + transport_bytes));
    put16(out, 0x1234);
    put16(out, 0x4000);
    out.push_back(64);
    out.push_back(tuple.protocol);
    put16(out, 0);
    put(out, tuple.src.view(Family::ip));
    put(out, tuple.dst.view(Family::ip));
    out.resize(header, 1);
    set16(out, 10, ~sum(out) & 0xffff);
    return out;
  }
  const bool has_hop_by_hop = option_words != 0;
  out = {0x60, 0, 0, 0};
  put16(out, static_cast<std::uint32_t>(transport_bytes + (has_hop_by_hop ? 8 : 0)));
  out.push_back(has_hop_by_hop ? 0 : tuple.protocol);
  out.push_back(64);
  put(out, tuple.src.view(Family::ip6));
  put(out, tuple.dst.view(Family::ip6));
  if (has_hop_by_hop) put(out, Octets{tuple.protocol, 0, 1, 4, 0, 0, 0, 0});
  return out;
}

Octets transport_header(const Spec& spec) {
  Octets out;
  const conntrack::Tuple& tuple = spec.tuple;
  if (is_icmp(tuple.protocol)) {
    put16(out, tuple.dst_port.host());
    put16(out, 0);
    put16(out, tuple.src_port.host());
    put16(out, 7);
    return out;
  }
  put16(out, tuple.src_port.host());
  put16(out, tuple.dst_port.host());
  if (tuple.protocol == wire::protocol::kTcp) {
    put16(out, spec.seq >> 16);
    put16(out, spec.seq & 0xffff);
    put16(out, spec.ack >> 16);
    put16(out, spec.ack & 0xffff);
    put(out, Octets{0x50, spec.tcp_flags, 0xff, 0xff, 0, 0, 0, 0});
  } else {
    put16(out, static_cast<std::uint32_t>(8 + spec.payload.size()));
    put16(out, 0);
  }
  return out;
}

/// Computes the transport checksum as its sender does.
void fill_checksum(Octets& datagram) {
  const std::size_t at = transport_offset(datagram);
  const Bytes transport = Bytes(datagram).subspan(at);
  std::uint32_t value = ~sum(transport, pseudo_sum(datagram, transport.size())) & 0xffff;
  if (value == 0 && protocol_of(datagram) == wire::protocol::kUdp) value = 0xffff;
  set16(datagram, at + checksum_offset(protocol_of(datagram)), value);
}

bool is_transport_right(const Octets& datagram) {
  const std::size_t at = transport_offset(datagram);
  const std::uint8_t protocol = protocol_of(datagram);
  if (protocol == wire::protocol::kUdp && get16(datagram, at + 6) == 0) return true;
  const Bytes transport = Bytes(datagram).subspan(at);
  return sum(transport, pseudo_sum(datagram, transport.size())) == 0xffff;
}

bool is_ip_right(const Octets& datagram) {
  if (datagram[0] >> 4 != 4) return true;
  return sum(Bytes(datagram).first((datagram[0] & 15) * 4)) == 0xffff;
}

}  // namespace

std::size_t transport_offset(const Octets& datagram) {
  if (datagram[0] >> 4 == 4) return static_cast<std::size_t>(datagram[0] & 15) * 4;
  return datagram[6] == 0 ? 48 : 40;
}

Octets datagram(const Spec& spec) {
  const Octets transport = transport_header(spec);
  Octets out = ip_header(spec.tuple, transport.size() + spec.payload.size(), spec.option_words);
  put(out, transport);
  put(out, spec.payload);
  if (spec.has_checksum) fill_checksum(out);
  return out;
}

Octets error(Family family, const wire::Address& src, const wire::Address& dst,
             const Octets& quoted, std::size_t quoted_bytes) {
  const bool is_ip4 = family == Family::ip;
  conntrack::Tuple tuple;
  tuple.src = src;
  tuple.dst = dst;
  tuple.family = family;
  tuple.protocol = is_ip4 ? wire::protocol::kIcmp : wire::protocol::kIcmpv6;
  tuple.dst_port = Be16::from_host(is_ip4 ? 3 << 8 | 1 : 1 << 8 | 3);
  const std::size_t count = std::min(quoted_bytes, quoted.size());
  Octets out = datagram(
      {.tuple = tuple,
       .payload = Octets(quoted.begin(), quoted.begin() + static_cast<std::ptrdiff_t>(count))});
  return out;
}

bool has_right_checksums(const Octets& datagram) {
  if (!is_ip_right(datagram)) return false;
  const bool is_whole =
      transport_offset(datagram) + transport_bytes_of(datagram) <= datagram.size();
  return !is_whole || is_transport_right(datagram);
}

bool has_right_quote(const Octets& error, const Octets& whole) {
  Octets quote(error.begin() + static_cast<std::ptrdiff_t>(transport_offset(error) + 8),
               error.end());
  if (quote.size() < whole.size()) {
    quote.insert(quote.end(), whole.begin() + static_cast<std::ptrdiff_t>(quote.size()),
                 whole.end());
  }
  return has_right_checksums(quote);
}

conntrack::Tuple tuple_of(const Octets& datagram) {
  conntrack::Tuple tuple;
  const bool is_ip4 = datagram[0] >> 4 == 4;
  tuple.family = is_ip4 ? Family::ip : Family::ip6;
  tuple.protocol = protocol_of(datagram);
  const std::size_t at = is_ip4 ? 12 : 8;
  const std::size_t bytes = wire::address_bytes(tuple.family);
  tuple.src = wire::Address::from(Bytes(datagram).subspan(at, bytes));
  tuple.dst = wire::Address::from(Bytes(datagram).subspan(at + bytes, bytes));
  const std::size_t l4 = transport_offset(datagram);
  if (is_icmp(tuple.protocol)) {
    tuple.src_port = Be16::from_host(static_cast<std::uint16_t>(get16(datagram, l4 + 4)));
    tuple.dst_port = Be16::from_host(static_cast<std::uint16_t>(get16(datagram, l4)));
  } else {
    tuple.src_port = Be16::from_host(static_cast<std::uint16_t>(get16(datagram, l4)));
    tuple.dst_port = Be16::from_host(static_cast<std::uint16_t>(get16(datagram, l4 + 2)));
  }
  return tuple;
}

TestPacket::TestPacket(const Octets& datagram) : frame_(kEthernet) {
  put(frame_, datagram);
  packet.buffer = frame_.data();
  packet.capacity_bytes = packet.length = static_cast<std::uint32_t>(frame_.size());
  packet.family = datagram[0] >> 4 == 4 ? Family::ip : Family::ip6;
  packet.l4_protocol = protocol_of(datagram);
  packet.l3_offset = kEthernet;
  packet.l4_offset = static_cast<std::uint16_t>(kEthernet + transport_offset(datagram));
  packet.ip_length = static_cast<std::uint16_t>(datagram.size());
}

Octets TestPacket::datagram() const { return {frame_.begin() + kEthernet, frame_.end()}; }

void TestPacket::make_partial() {
  const Octets now = datagram();
  packet.checksum = packet::Checksum::partial;
  packet.csum_start = packet.l4_offset;
  packet.csum_offset = static_cast<std::uint16_t>(checksum_offset(packet.l4_protocol));
  set16(frame_, std::size_t{packet.csum_start} + packet.csum_offset,
        pseudo_sum(now, transport_bytes_of(now)));
}

TEST(TestPacket, ChecksumsOfAKnownHeader) {
  // The example of RFC 1071 section 3.
  EXPECT_EQ(sum(Octets{0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7}), 0xddf2U);
}

}  // namespace weir::nat::test
