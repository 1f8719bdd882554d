#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/endian.h"
#include "wire/ipv4.h"
#include "wire/view.h"

namespace weir::wire {

/// The TCP header (RFC 9293 section 3.1), its fixed 20 bytes.
struct Tcp {
  static constexpr std::uint8_t kFin = 0x01;
  static constexpr std::uint8_t kSyn = 0x02;
  static constexpr std::uint8_t kRst = 0x04;
  static constexpr std::uint8_t kPsh = 0x08;
  static constexpr std::uint8_t kAck = 0x10;
  static constexpr std::uint8_t kUrg = 0x20;
  static constexpr std::uint8_t kEce = 0x40;
  static constexpr std::uint8_t kCwr = 0x80;
  static constexpr std::size_t kChecksumOffset = 16;

  std::uint8_t raw[20];

  Be16 src_port() const { return load<Be16>(raw); }
  Be16 dst_port() const { return load<Be16>(raw + 2); }
  std::uint32_t sequence() const { return load<Be32>(raw + 4).host(); }
  std::uint32_t acknowledgment() const { return load<Be32>(raw + 8).host(); }
  std::size_t header_bytes() const { return (raw[12] >> 4) * std::size_t{4}; }
  std::uint8_t flags() const { return raw[13]; }
  bool has(std::uint8_t flag) const { return (raw[13] & flag) != 0; }
  std::uint16_t window() const { return load<Be16>(raw + 14).host(); }
  Be16 checksum() const { return load<Be16>(raw + 16); }
  std::uint16_t urgent() const { return load<Be16>(raw + 18).host(); }

  void set_src_port(Be16 port) { store(raw, port); }
  void set_dst_port(Be16 port) { store(raw + 2, port); }
  void set_sequence(std::uint32_t number) { store(raw + 4, Be32::from_host(number)); }
  void set_acknowledgment(std::uint32_t number) { store(raw + 8, Be32::from_host(number)); }
  void set_header_bytes(std::size_t bytes) {
    raw[12] = static_cast<std::uint8_t>((bytes / 4) << 4 | (raw[12] & 0x0f));
  }
  void set_flags(std::uint8_t flags) { raw[13] = flags; }
  void set_window(std::uint16_t window) { store(raw + 14, Be16::from_host(window)); }
  void set_checksum(Be16 checksum) { store(raw + 16, checksum); }
  void set_urgent(std::uint16_t urgent) { store(raw + 18, Be16::from_host(urgent)); }
};

/// TCP option kinds (RFC 9293, 7323, 2018). Walk them with OptionWalk over `tcp_options`.
namespace tcp_option {
inline constexpr std::uint8_t kMss = 2;
inline constexpr std::uint8_t kWindowScale = 3;
inline constexpr std::uint8_t kSackPermitted = 4;
inline constexpr std::uint8_t kSack = 5;
inline constexpr std::uint8_t kTimestamps = 8;
}  // namespace tcp_option

/// The option bytes of a segment: none when its data offset is below 20 or beyond the segment.
inline Bytes tcp_options(Bytes segment) {
  const Tcp* const tcp = view<Tcp>(segment);
  if (tcp == nullptr || tcp->header_bytes() < sizeof(Tcp) || tcp->header_bytes() > segment.size())
    return {};
  return segment.subspan(sizeof(Tcp), tcp->header_bytes() - sizeof(Tcp));
}

struct SackBlock {
  std::uint32_t left = 0;
  std::uint32_t right = 0;
};

/// The options that connection tracking and NAT care for, read in one pass.
struct TcpOptions {
  std::optional<std::uint16_t> mss;
  std::optional<std::uint8_t>
      window_scale;  // As sent; more than 14 means 14 (RFC 7323 section 2.3).
  bool has_sack_permitted = false;
  bool has_timestamps = false;
  std::uint32_t timestamp = 0;
  std::uint32_t timestamp_echo = 0;
  std::array<SackBlock, 4> sack{};
  std::uint8_t sack_count = 0;
};

/// Options of the wrong length are passed over, as is everything after a malformed one.
TcpOptions parse_tcp_options(Bytes options);

}  // namespace weir::wire
