#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "base/endian.h"

namespace weir::wire {

/// Reads numbers off the front of some bytes. Past the end every read gives zero and `is_short()`
/// is true from then on, so a parser may read a whole structure and ask once.
class Reader {
 public:
  explicit Reader(Bytes bytes) : rest_(bytes) {}

  std::uint8_t u8() { return number<std::uint8_t>(); }
  std::uint16_t u16() { return number<std::uint16_t>(); }
  std::uint32_t u32() { return number<std::uint32_t>(); }
  std::uint64_t u64() { return number<std::uint64_t>(); }

  /// The next `count` bytes; none when fewer are left.
  Bytes take(std::size_t count) {
    if (count > rest_.size()) {
      is_short_ = true;
      rest_ = {};
      return {};
    }
    const Bytes taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }
  void skip(std::size_t count) { take(count); }

  Bytes rest() const { return rest_; }
  std::size_t left() const { return rest_.size(); }
  bool is_short() const { return is_short_; }

 private:
  template <typename T>
  T number() {
    const Bytes taken = take(sizeof(T));
    return taken.empty() ? T{0} : load<BigEndian<T>>(taken.data()).host();
  }

  Bytes rest_;
  bool is_short_ = false;
};

}  // namespace weir::wire
