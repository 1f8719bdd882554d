#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

namespace weir {

/// Plain data that one thread writes while others copy it. It is written and read as 64-bit atomic
/// words, so that a copy is never torn within a word; whether the words belong together is what the
/// sequence count beside it says (even and unchanged: they do). Every word is a release or acquire,
/// which orders them against the count without fences and costs nothing on x86.
template <typename T>
concept Words = std::is_trivially_copyable_v<T> && sizeof(T) % 8 == 0 && alignof(T) <= 8;

/// A word of somebody else's type.
using AliasedWord [[gnu::may_alias]] = std::uint64_t;

template <Words T>
T load_words(const T& from) {
  std::array<std::uint64_t, sizeof(T) / 8> words;
  const auto* const at = reinterpret_cast<const AliasedWord*>(&from);
  for (std::size_t i = 0; i < words.size(); ++i) {
    words[i] = __atomic_load_n(&at[i], __ATOMIC_ACQUIRE);
  }
  T value;
  std::memcpy(static_cast<void*>(&value), words.data(), sizeof value);
  return value;
}

template <Words T>
void store_words(T& to, const T& value) {
  std::array<std::uint64_t, sizeof(T) / 8> words;
  std::memcpy(words.data(), static_cast<const void*>(&value), sizeof value);
  auto* const at = reinterpret_cast<AliasedWord*>(&to);
  for (std::size_t i = 0; i < words.size(); ++i) {
    __atomic_store_n(&at[i], words[i], __ATOMIC_RELEASE);
  }
}

}  // namespace weir
