#include "wire/checksum.h"

namespace weir::wire {
namespace {

constexpr std::size_t kIpv4Addresses = 12;  // Offset of the source; the destination follows it.
constexpr std::size_t kIpv6Addresses = 8;

/// Zero, protocol and length: the pseudo-header's part that is not addresses, equal for both
/// families.
Sum length_and_protocol(std::uint8_t protocol, std::uint32_t l4_bytes) {
  return sum(Be32::from_host(l4_bytes)) + sum(Be16::from_host(protocol));
}

}  // namespace

Sum sum(Bytes bytes) {
  const std::uint8_t* at = bytes.data();
  std::size_t left = bytes.size();
  // Two accumulators of 32-bit words: 64 bits hold 2^32 such words, so no carry is lost.
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  for (; left >= 8; at += 8, left -= 8) {
    const auto word = load<std::uint64_t>(at);
    low += word & 0xffffffff;
    high += word >> 32;
  }
  std::uint64_t total = low + high;
  if (left >= 4) {
    total += load<std::uint32_t>(at);
    at += 4;
    left -= 4;
  }
  if (left >= 2) {
    total += load<std::uint16_t>(at);
    at += 2;
    left -= 2;
  }
  if (left == 1) {
    const std::uint8_t last[2] = {*at, 0};
    total += load<std::uint16_t>(last);
  }
  return {total};
}

Sum pseudo_header(Family family, const Address& src, const Address& dst, std::uint8_t protocol,
                  std::uint32_t l4_bytes) {
  return sum(src.view(family)) + sum(dst.view(family)) + length_and_protocol(protocol, l4_bytes);
}

Sum pseudo_header(Family family, const std::uint8_t* ip_header, std::uint8_t protocol,
                  std::uint32_t l4_bytes) {
  const Bytes addresses = family == Family::ip ? Bytes(ip_header + kIpv4Addresses, 8)
                                               : Bytes(ip_header + kIpv6Addresses, 32);
  return sum(addresses) + length_and_protocol(protocol, l4_bytes);
}

void ChecksumDelta::replace(const Address& from, const Address& to) {
  for (std::size_t i = 0; i < from.bytes.size(); i += 4) {
    replace(Be32{load<std::uint32_t>(&from.bytes[i])}, Be32{load<std::uint32_t>(&to.bytes[i])});
  }
}

}  // namespace weir::wire
