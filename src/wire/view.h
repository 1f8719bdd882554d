#pragma once

#include <cstddef>
#include <cstdint>

#include "base/bytes.h"

namespace weir::wire {

/// Headers in this folder are structs over `std::uint8_t raw[N]`: they may lie at any address, are
/// never copied, and read and write their fields through accessors. `view` is the one place that
/// checks a length; what it returns may be accessed freely afterwards. Variable parts (options,
/// extension headers) have bounded iterators that check as they go.
///
/// The header of type H at `offset`, or null when the bytes end before its fixed part does.
template <typename H>
const H* view(Bytes bytes, std::size_t offset = 0) {
  static_assert(alignof(H) == 1);
  if (offset > bytes.size() || bytes.size() - offset < sizeof(H)) return nullptr;
  return reinterpret_cast<const H*>(bytes.data() + offset);
}

/// The same over bytes that may be written.
template <typename H>
H* view(MutableBytes bytes, std::size_t offset = 0) {
  static_assert(alignof(H) == 1);
  if (offset > bytes.size() || bytes.size() - offset < sizeof(H)) return nullptr;
  return reinterpret_cast<H*>(bytes.data() + offset);
}

/// The header at an address that has been checked before.
template <typename H>
const H& at(const std::uint8_t* address) {
  static_assert(alignof(H) == 1);
  return *reinterpret_cast<const H*>(address);
}
template <typename H>
H& at(std::uint8_t* address) {
  static_assert(alignof(H) == 1);
  return *reinterpret_cast<H*>(address);
}

}  // namespace weir::wire
