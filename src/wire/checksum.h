#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/endian.h"
#include "wire/address.h"

namespace weir::wire {

/// The Internet checksum (RFC 1071) and its incremental update (RFC 1624, equation 3).
///
/// Sums are kept in memory order: 16-bit words are added as the machine loads them, which is right
/// on either byte order as long as the folded result is stored the same way, as Be16's `raw` is.
///
/// A `Sum` is unfolded; any number of them may be added, for together less than 2^31 bytes. Only
/// the last part of a sum may have an odd number of bytes.
struct Sum {
  std::uint64_t value = 0;
  Sum operator+(Sum other) const { return {value + other.value}; }
  Sum& operator+=(Sum other) {
    value += other.value;
    return *this;
  }
};

/// Ones-complement sum over bytes, many at a time: worth a call from kLongBytes on.
Sum sum_long(Bytes bytes);
inline constexpr std::size_t kLongBytes = 96;

/// Ones-complement sum over bytes. Headers and short packets are summed in place, eight bytes at a
/// time with the carry brought round.
inline Sum sum(Bytes bytes) {
  if (bytes.size() >= kLongBytes) return sum_long(bytes);
  const std::uint8_t* at = bytes.data();
  std::size_t left = bytes.size();
  std::uint64_t total = 0;
  for (; left >= 8; at += 8, left -= 8) {
    total += __builtin_add_overflow(total, load<std::uint64_t>(at), &total) ? 1 : 0;
  }
  // Half of it, so that what is left and other sums can be added without losing a carry.
  total = (total & 0xffffffff) + (total >> 32);
  if ((left & 4) != 0) {
    total += load<std::uint32_t>(at);
    at += 4;
  }
  if ((left & 2) != 0) {
    total += load<std::uint16_t>(at);
    at += 2;
  }
  if ((left & 1) != 0) {
    const std::uint8_t last[2] = {*at, 0};
    total += load<std::uint16_t>(last);
  }
  return {total};
}

inline Sum sum(Be16 field) { return {field.raw}; }
inline Sum sum(Be32 field) { return {field.raw}; }

/// The sum as 16 bits, not complemented: what a partial checksum's field holds.
inline Be16 fold(Sum s) {
  std::uint64_t v = (s.value & 0xffffffff) + (s.value >> 32);
  v = (v & 0xffff) + ((v >> 16) & 0xffff) + (v >> 32);
  v = (v & 0xffff) + (v >> 16);
  v = (v & 0xffff) + (v >> 16);
  return {static_cast<std::uint16_t>(v)};
}

/// The checksum of what was summed: the folded sum's complement. Over data that contains a right
/// checksum the result is zero.
inline Be16 finish(Sum s) { return {static_cast<std::uint16_t>(~fold(s).raw)}; }

/// Zero, protocol and length: the pseudo-header's part that is not addresses, equal for both
/// families.
inline Sum length_and_protocol(std::uint8_t protocol, std::uint32_t l4_bytes) {
  return sum(Be32::from_host(l4_bytes)) + sum(Be16::from_host(protocol));
}

/// The sum of the pseudo-header (RFC 9293 section 3.1, RFC 8200 section 8.1). `l4_bytes` is the
/// length of transport header and payload.
inline Sum pseudo_header(Family family, const Address& src, const Address& dst,
                         std::uint8_t protocol, std::uint32_t l4_bytes) {
  return sum(src.view(family)) + sum(dst.view(family)) + length_and_protocol(protocol, l4_bytes);
}

/// The same with the addresses of an IP header that has been checked: `ip_header` begins with it.
/// Source and destination follow each other there.
inline Sum pseudo_header(Family family, const std::uint8_t* ip_header, std::uint8_t protocol,
                         std::uint32_t l4_bytes) {
  const Sum addresses =
      family == Family::ip ? sum(Bytes(ip_header + 12, 8)) : sum(Bytes(ip_header + 8, 32));
  return addresses + length_and_protocol(protocol, l4_bytes);
}

/// UDP's zero rule (RFC 768): a computed zero is sent as all ones, since zero says "no checksum".
inline Be16 udp_nonzero(Be16 checksum) { return checksum.raw == 0 ? Be16{0xffff} : checksum; }

/// The difference that changed fields make to a checksum. Build it once (per packet, or per
/// connection for NAT's fixed rewrites), apply it to as many checksums as the fields are covered
/// by.
class ChecksumDelta {
 public:
  /// Fields must lie at even offsets of what is summed.
  void replace(Be16 from, Be16 to) {
    sum_.value += static_cast<std::uint16_t>(~from.raw);
    sum_.value += to.raw;
  }
  void replace(Be32 from, Be32 to) {
    sum_.value += static_cast<std::uint32_t>(~from.raw);
    sum_.value += to.raw;
  }
  /// Both addresses of one family.
  void replace(const Address& from, const Address& to);

  /// The new value of a finished checksum. For UDP ask whether it is zero ("none") before and pass
  /// the result through `udp_nonzero`.
  Be16 apply(Be16 checksum) const {
    const Sum old{static_cast<std::uint16_t>(~checksum.raw)};
    return finish(old + sum_);
  }
  /// The new value of a partial checksum's field (uncomplemented pseudo-header sum). Only fields
  /// that the pseudo-header has, i.e. addresses, belong into such a delta: the rest is summed when
  /// it is finished.
  Be16 apply_partial(Be16 field) const { return fold(Sum{field.raw} + sum_); }

  bool is_nothing() const { return sum_.value == 0; }

 private:
  Sum sum_;
};

/// The checksum after one field that it covers has changed.
template <typename Field>
Be16 updated(Be16 checksum, const Field& from, const Field& to) {
  ChecksumDelta delta;
  delta.replace(from, to);
  return delta.apply(checksum);
}

}  // namespace weir::wire
