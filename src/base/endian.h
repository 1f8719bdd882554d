#pragma once

#include <bit>
#include <compare>
#include <cstdint>

namespace weir {

/// An unsigned integer as it lies on the wire: big endian, so that host and network order can't be
/// mixed up. `raw` is the memory image; `host()` the number.
template <typename T>
struct BigEndian {
  T raw = 0;

  static constexpr BigEndian from_host(T value) { return {swap(value)}; }
  constexpr T host() const { return swap(raw); }
  constexpr bool operator==(const BigEndian&) const = default;

 private:
  static constexpr T swap(T value) {
    if constexpr (std::endian::native == std::endian::big || sizeof(T) == 1) {
      return value;
    } else if constexpr (sizeof(T) == 2) {
      return __builtin_bswap16(value);
    } else if constexpr (sizeof(T) == 4) {
      return __builtin_bswap32(value);
    } else {
      return __builtin_bswap64(value);
    }
  }
};

using Be16 = BigEndian<std::uint16_t>;
using Be32 = BigEndian<std::uint32_t>;
using Be64 = BigEndian<std::uint64_t>;

}  // namespace weir
