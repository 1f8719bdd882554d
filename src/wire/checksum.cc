#include "wire/checksum.h"

#include <cstring>

namespace weir::wire {

Sum sum_long(Bytes bytes) {
  // Four sums side by side of 32-bit words, two to a 64-bit lane: a lane holds 2^32 of them, so no
  // carry is lost, and compilers turn the loop into vector additions.
  constexpr std::size_t kLanes = 4;
  std::uint64_t low[kLanes] = {};
  std::uint64_t high[kLanes] = {};
  const std::uint8_t* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8 * kLanes; at += 8 * kLanes, left -= 8 * kLanes) {
    std::uint64_t words[kLanes];
    std::memcpy(words, at, sizeof words);
    for (std::size_t i = 0; i < kLanes; ++i) {
      low[i] += words[i] & 0xffffffff;
      high[i] += words[i] >> 32;
    }
  }
  Sum total = sum(Bytes(at, left));
  for (std::size_t i = 0; i < kLanes; ++i) total.value += low[i] + high[i];
  return total;
}

void ChecksumDelta::replace(const Address& from, const Address& to) {
  for (std::size_t i = 0; i < from.bytes.size(); i += 4) {
    replace(Be32{load<std::uint32_t>(&from.bytes[i])}, Be32{load<std::uint32_t>(&to.bytes[i])});
  }
}

}  // namespace weir::wire
