#pragma once

#include <cstdint>
#include <vector>

#include "conntrack/tuple.h"
#include "packet/packet.h"

namespace weir::nat::test {

/// For tests: packets made field by field, and checksums computed byte by byte, without the code
/// that is tested.
using Octets = std::vector<std::uint8_t>;

struct Spec {
  conntrack::Tuple tuple;  // ICMP: id in src_port, type << 8 | code in dst_port.
  Octets payload{};
  std::uint8_t tcp_flags = 0x10;
  std::uint32_t seq = 0x00000304;
  std::uint32_t ack = 0x00000506;
  bool has_checksum = true;      // UDP only.
  std::size_t option_words = 0;  // IPv4 options, IPv6 hop-by-hop header of 8 bytes if not zero.
};

/// An IP datagram with right checksums.
Octets datagram(const Spec& spec);

/// An ICMP or ICMPv6 error (destination unreachable) from `src` to `dst` that quotes the first
/// `quoted_bytes` of a datagram.
Octets error(wire::Family family, const wire::Address& src, const wire::Address& dst,
             const Octets& quoted, std::size_t quoted_bytes);

/// Where the transport header of a datagram begins.
std::size_t transport_offset(const Octets& datagram);

/// Whether IP header and transport checksum are right. A datagram that is cut short is judged by
/// its IPv4 header alone.
bool has_right_checksums(const Octets& datagram);
/// The quoted datagram of an error, its transport checksum judged as if nothing were cut off
/// (`whole` says what follows the quoted bytes).
bool has_right_quote(const Octets& error, const Octets& whole);

/// What a datagram's addresses and ports are now.
conntrack::Tuple tuple_of(const Octets& datagram);

/// Owns the memory of a Packet that holds one datagram behind an Ethernet header.
class TestPacket {
 public:
  explicit TestPacket(const Octets& datagram);
  TestPacket(const TestPacket&) = delete;
  TestPacket& operator=(const TestPacket&) = delete;

  packet::Packet packet;
  Octets datagram() const;
  /// Puts the pseudo-header's sum alone into the checksum field (packet::Checksum::partial).
  void make_partial();

 private:
  Octets frame_;
};

}  // namespace weir::nat::test
