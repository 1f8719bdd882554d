#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

namespace weir {

/// Bytes that somebody else owns, read-only and writable.
using Bytes = std::span<const std::uint8_t>;
using MutableBytes = std::span<std::uint8_t>;

/// Reads a trivially copyable T at an address of any alignment.
template <typename T>
  requires std::is_trivially_copyable_v<T>
T load(const std::uint8_t* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

/// Writes a trivially copyable T at an address of any alignment.
template <typename T>
  requires std::is_trivially_copyable_v<T>
void store(std::uint8_t* at, const T& value) {
  std::memcpy(at, &value, sizeof value);
}

/// The bytes of an object, for comparing, hashing and sending it.
template <typename T>
  requires std::is_trivially_copyable_v<T>
Bytes as_bytes(const T& value) {
  return {reinterpret_cast<const std::uint8_t*>(&value), sizeof value};
}

}  // namespace weir
