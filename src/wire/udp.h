#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "base/endian.h"
#include "wire/view.h"

namespace weir::wire {

/// The first four bytes of TCP, UDP, UDPLite, SCTP and DCCP alike.
struct Ports {
  std::uint8_t raw[4];
  Be16 src_port() const { return load<Be16>(raw); }
  Be16 dst_port() const { return load<Be16>(raw + 2); }
  void set_src_port(Be16 port) { store(raw, port); }
  void set_dst_port(Be16 port) { store(raw + 2, port); }
};

/// UDP (RFC 768) and UDPLite (RFC 3828), whose length field is the checksum's coverage.
struct Udp {
  static constexpr std::size_t kChecksumOffset = 6;
  std::uint8_t raw[8];
  Be16 src_port() const { return load<Be16>(raw); }
  Be16 dst_port() const { return load<Be16>(raw + 2); }
  std::uint16_t length() const { return load<Be16>(raw + 4).host(); }
  Be16 checksum() const { return load<Be16>(raw + 6); }
  bool has_checksum() const { return checksum().raw != 0; }
  void set_src_port(Be16 port) { store(raw, port); }
  void set_dst_port(Be16 port) { store(raw + 2, port); }
  void set_length(std::uint16_t bytes) { store(raw + 4, Be16::from_host(bytes)); }
  void set_checksum(Be16 checksum) { store(raw + 6, checksum); }
};

/// The SCTP common header (RFC 9260 section 3.1); its checksum is a CRC32c of the whole packet.
struct Sctp {
  static constexpr std::size_t kChecksumOffset = 8;
  std::uint8_t raw[12];
  Be16 src_port() const { return load<Be16>(raw); }
  Be16 dst_port() const { return load<Be16>(raw + 2); }
  Be32 verification_tag() const { return load<Be32>(raw + 4); }
  Be32 checksum() const { return load<Be32>(raw + 8); }
};

/// The DCCP generic header (RFC 4340 section 5.1), as far as both its forms agree.
struct Dccp {
  static constexpr std::size_t kChecksumOffset = 6;
  std::uint8_t raw[12];
  Be16 src_port() const { return load<Be16>(raw); }
  Be16 dst_port() const { return load<Be16>(raw + 2); }
  std::size_t header_bytes() const { return raw[4] * std::size_t{4}; }
  Be16 checksum() const { return load<Be16>(raw + 6); }
  std::uint8_t type() const { return (raw[8] >> 1) & 0x0f; }
  bool has_long_sequence() const { return (raw[8] & 1) != 0; }
};

/// The length of a DCCP header's fixed part at the beginning of `l4`: generic header,
/// acknowledgement number, and what its packet type has of its own (RFC 4340 sections 5.1 to 5.6).
/// Zero when it isn't there whole, or there is no such type.
inline std::size_t dccp_fixed_bytes(Bytes l4) {
  const auto* const header = view<Dccp>(l4);
  if (header == nullptr || header->type() > 9) return 0;
  const bool is_long = header->has_long_sequence();
  const std::uint8_t type = header->type();
  const bool has_acknowledgement = type != 0 && type != 2;    // Request, Data.
  const bool has_word = type == 0 || type == 1 || type == 7;  // Service or reset code.
  const std::size_t acknowledgement = is_long ? 8 : 4;
  const std::size_t bytes =
      (is_long ? 16 : 12) + (has_acknowledgement ? acknowledgement : 0) + (has_word ? 4 : 0);
  return bytes <= header->header_bytes() && bytes <= l4.size() ? bytes : 0;
}

/// GRE's first four bytes (RFC 2784, RFC 2890; version 1 is PPTP's, RFC 2637).
struct Gre {
  std::uint8_t raw[4];
  bool has_checksum() const { return (raw[0] & 0x80) != 0; }
  bool has_key() const { return (raw[0] & 0x20) != 0; }
  std::uint8_t version() const { return raw[1] & 7; }
  Be16 protocol() const { return load<Be16>(raw + 2); }
};

/// PPTP's enhanced GRE: the call id identifies the flow's direction.
struct PptpGre {
  std::uint8_t raw[8];
  std::uint16_t payload_bytes() const { return load<Be16>(raw + 4).host(); }
  Be16 call_id() const { return load<Be16>(raw + 6); }
  void set_call_id(Be16 id) { store(raw + 6, id); }
};

}  // namespace weir::wire
