#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/endian.h"
#include "wire/address.h"
#include "wire/checksum.h"
#include "wire/view.h"

namespace weir::wire {

/// The IPv4 header (RFC 791 section 3.1), its fixed 20 bytes.
struct Ipv4 {
  static constexpr std::uint16_t kDontFragment = 0x4000;
  static constexpr std::uint16_t kMoreFragments = 0x2000;
  static constexpr std::uint16_t kOffsetMask = 0x1fff;
  static constexpr std::size_t kMaxHeaderBytes = 60;

  std::uint8_t raw[20];

  std::uint8_t version() const { return raw[0] >> 4; }
  std::size_t header_bytes() const { return (raw[0] & 0x0f) * std::size_t{4}; }
  std::uint8_t tos() const { return raw[1]; }
  std::uint8_t ecn() const { return raw[1] & 3; }
  std::uint16_t total_bytes() const { return load<Be16>(raw + 2).host(); }
  Be16 id() const { return load<Be16>(raw + 4); }
  /// Flags and offset field as a number.
  std::uint16_t fragment_field() const { return load<Be16>(raw + 6).host(); }
  bool has_df() const { return (fragment_field() & kDontFragment) != 0; }
  bool has_more() const { return (fragment_field() & kMoreFragments) != 0; }
  std::uint32_t fragment_offset_bytes() const { return (fragment_field() & kOffsetMask) * 8U; }
  bool is_fragment() const { return (fragment_field() & (kMoreFragments | kOffsetMask)) != 0; }
  std::uint8_t ttl() const { return raw[8]; }
  std::uint8_t protocol() const { return raw[9]; }
  Be16 checksum() const { return load<Be16>(raw + 10); }
  Be32 src() const { return load<Be32>(raw + 12); }
  Be32 dst() const { return load<Be32>(raw + 16); }
  Address src_address() const { return Address::ip(src()); }
  Address dst_address() const { return Address::ip(dst()); }

  void set_version_and_header_bytes(std::size_t header_bytes) {
    raw[0] = static_cast<std::uint8_t>(0x40 | (header_bytes / 4));
  }
  // The plain setters leave the checksum alone.
  void set_tos(std::uint8_t tos) { raw[1] = tos; }
  void set_total_bytes(std::uint16_t bytes) { store(raw + 2, Be16::from_host(bytes)); }
  void set_id(Be16 id) { store(raw + 4, id); }
  void set_fragment_field(std::uint16_t field) { store(raw + 6, Be16::from_host(field)); }
  void set_ttl(std::uint8_t ttl) { raw[8] = ttl; }
  void set_protocol(std::uint8_t protocol) { raw[9] = protocol; }
  void set_checksum(Be16 checksum) { store(raw + 10, checksum); }
  void set_src(Be32 address) { store(raw + 12, address); }
  void set_dst(Be32 address) { store(raw + 16, address); }

  /// TTL minus one, checksum kept right. The TTL must not be zero.
  void decrement_ttl() {
    const Be16 before = load<Be16>(raw + 8);
    --raw[8];
    set_checksum(updated(checksum(), before, load<Be16>(raw + 8)));
  }
  /// The type-of-service byte (DSCP and ECN), checksum kept right.
  void rewrite_tos(std::uint8_t tos) {
    const Be16 before = load<Be16>(raw);
    raw[1] = tos;
    set_checksum(updated(checksum(), before, load<Be16>(raw)));
  }
  /// Computes the header checksum anew over `header_bytes()`, which must lie in the buffer.
  void fill_checksum() {
    set_checksum({0});
    set_checksum(finish(sum(Bytes(raw, header_bytes()))));
  }
};

/// IPv4 option types with their copy bit (RFC 791 section 3.1, RFC 2113).
namespace ipv4_option {
inline constexpr std::uint8_t kEnd = 0;
inline constexpr std::uint8_t kNoOperation = 1;
inline constexpr std::uint8_t kRecordRoute = 7;
inline constexpr std::uint8_t kTimestamp = 68;
inline constexpr std::uint8_t kSecurity = 130;
inline constexpr std::uint8_t kLooseSourceRoute = 131;
inline constexpr std::uint8_t kCommercialSecurity = 134;
inline constexpr std::uint8_t kStreamId = 136;
inline constexpr std::uint8_t kStrictSourceRoute = 137;
inline constexpr std::uint8_t kRouterAlert = 148;
inline constexpr std::uint8_t kCopyBit = 0x80;
}  // namespace ipv4_option

/// Walks options of the common form: kind 0 ends, kind 1 is one byte, all others have a length that
/// counts kind and length (IPv4 and TCP alike).
///
///     OptionWalk walk(bytes);
///     while (walk.next()) use(walk.kind(), walk.data());
///     if (walk.is_malformed()) ...
class OptionWalk {
 public:
  explicit OptionWalk(Bytes options) : options_(options) {}

  /// Moves to the next option other than end and no-operation; false at the end or a malformed one.
  bool next() {
    at_ = next_;
    while (at_ < options_.size() && options_[at_] == 1) ++at_;
    if (at_ >= options_.size() || options_[at_] == 0) return false;
    if (options_.size() - at_ < 2 || options_[at_ + 1] < 2 ||
        options_[at_ + 1] > options_.size() - at_) {
      is_malformed_ = true;
      return false;
    }
    next_ = at_ + options_[at_ + 1];
    return true;
  }
  std::uint8_t kind() const { return options_[at_]; }
  /// What follows kind and length.
  Bytes data() const { return options_.subspan(at_ + 2, next_ - at_ - 2); }
  /// Kind, length and data.
  Bytes whole() const { return options_.subspan(at_, next_ - at_); }
  /// Where the option (or, when malformed, the bad one) begins, from the options' first byte.
  std::size_t offset() const { return at_; }
  bool is_malformed() const { return is_malformed_; }

 private:
  Bytes options_;
  std::size_t at_ = 0;
  std::size_t next_ = 0;
  bool is_malformed_ = false;
};

}  // namespace weir::wire
