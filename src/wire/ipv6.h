#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/endian.h"
#include "wire/address.h"
#include "wire/protocol.h"
#include "wire/view.h"

namespace weir::wire {

/// The IPv6 header (RFC 8200 section 3).
struct Ipv6 {
  std::uint8_t raw[40];

  std::uint8_t version() const { return raw[0] >> 4; }
  std::uint8_t traffic_class() const {
    return static_cast<std::uint8_t>(raw[0] << 4 | raw[1] >> 4);
  }
  std::uint8_t ecn() const { return traffic_class() & 3; }
  std::uint32_t flow_label() const { return load<Be32>(raw).host() & 0xfffff; }
  std::uint16_t payload_bytes() const { return load<Be16>(raw + 4).host(); }
  std::uint8_t next_header() const { return raw[6]; }
  std::uint8_t hop_limit() const { return raw[7]; }
  Address src_address() const { return load<Address>(raw + 8); }
  Address dst_address() const { return load<Address>(raw + 24); }

  void set_first_word(std::uint8_t traffic_class, std::uint32_t flow_label) {
    store(raw,
          Be32::from_host(6U << 28 | std::uint32_t{traffic_class} << 20 | (flow_label & 0xfffff)));
  }
  void set_payload_bytes(std::uint16_t bytes) { store(raw + 4, Be16::from_host(bytes)); }
  void set_next_header(std::uint8_t protocol) { raw[6] = protocol; }
  void set_hop_limit(std::uint8_t limit) { raw[7] = limit; }
  void set_src(const Address& address) { store(raw + 8, address.bytes); }
  void set_dst(const Address& address) { store(raw + 24, address.bytes); }
};

/// The fragment header (RFC 8200 section 4.5).
struct Ipv6Fragment {
  static constexpr std::uint16_t kMoreFragments = 1;
  std::uint8_t raw[8];
  std::uint8_t next_header() const { return raw[0]; }
  std::uint16_t field() const { return load<Be16>(raw + 2).host(); }
  std::uint32_t offset_bytes() const { return field() & 0xfff8U; }
  bool has_more() const { return (field() & kMoreFragments) != 0; }
  Be32 id() const { return load<Be32>(raw + 4); }
  void set_next_header(std::uint8_t protocol) { raw[0] = protocol; }
  void set_reserved() { raw[1] = 0; }
  void set_field(std::uint32_t offset_bytes, bool has_more) {
    store(raw + 2, Be16::from_host(static_cast<std::uint16_t>(offset_bytes | (has_more ? 1 : 0))));
  }
  void set_id(Be32 id) { store(raw + 4, id); }
};

/// Most extension headers that the walk follows. Longer chains are hostile; the RFC allows each
/// once, but destination options twice.
inline constexpr unsigned kMaxExtensionHeaders = 16;

/// What lies between an IPv6 header and its transport header. Offsets count from the IPv6 header.
struct Ipv6Chain {
  std::uint8_t protocol = 0;  // The transport protocol, or kNoNextHeader.
  bool is_malformed = false;  // Truncated or too long a chain; the rest is what was seen before.
  bool has_fragment_header = false;
  bool is_later_fragment = false;      // The walk ended at a fragment header with a nonzero offset.
  std::uint32_t transport_offset = 0;  // Of a later fragment: where its bytes begin.
  std::uint32_t fragment_offset = 0;   // Where the fragment header is, if there is one,
  std::uint32_t fragment_previous = 0;  // and where the next-header byte lies that names it.
  std::uint32_t last_next_header = 0;   // Where the next-header byte lies that names `protocol`.
};

/// Follows hop-by-hop, routing, fragment, destination options and authentication headers (the
/// kernel's ipv6_skip_exthdr; ESP and mobility end a chain). `datagram` begins with a checked Ipv6
/// header.
Ipv6Chain walk_chain(Bytes datagram);

/// Length of an extension header from its first two bytes; `protocol` is the header's own number.
std::size_t extension_header_bytes(std::uint8_t protocol, std::uint8_t length_field);

bool is_extension_header(std::uint8_t protocol);

/// Options inside hop-by-hop and destination headers (RFC 8200 section 4.2). Pad1 is skipped; PadN
/// is reported. Feed it the header without its first two bytes.
namespace ipv6_option {
inline constexpr std::uint8_t kPad1 = 0;
inline constexpr std::uint8_t kPadN = 1;
inline constexpr std::uint8_t kRouterAlert = 5;
inline constexpr std::uint8_t kJumbo = 0xc2;
inline constexpr std::uint8_t kHomeAddress = 0xc9;
}  // namespace ipv6_option

}  // namespace weir::wire
