#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace weir {

/// A random key; whoever doesn't know it can't find inputs whose hashes collide.
struct HashKey {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  bool operator==(const HashKey&) const = default;
};

/// SipHash-1-3 (Aumasson and Bernstein) over whole 64-bit words, in `Lanes` independent messages at
/// once: one message is a chain of dependent additions and rotations, several keep the processor
/// busy.
template <std::size_t Lanes>
class SipHash13 {
 public:
  using Lane = std::array<std::uint64_t, Lanes>;

  explicit SipHash13(const HashKey& key) {
    v0_.fill(key.low ^ 0x736f6d6570736575);
    v1_.fill(key.high ^ 0x646f72616e646f6d);
    v2_.fill(key.low ^ 0x6c7967656e657261);
    v3_.fill(key.high ^ 0x7465646279746573);
  }

  /// Takes the next word of each message.
  void add(const Lane& word) {
    for (std::size_t i = 0; i < Lanes; ++i) v3_[i] ^= word[i];
    round();
    for (std::size_t i = 0; i < Lanes; ++i) v0_[i] ^= word[i];
  }

  /// The hashes of messages of `message_bytes`, which must be eight times the words that were
  /// added.
  Lane finish(std::size_t message_bytes) {
    Lane length;
    length.fill(static_cast<std::uint64_t>(message_bytes) << 56);
    add(length);
    for (std::size_t i = 0; i < Lanes; ++i) v2_[i] ^= 0xff;
    for (int i = 0; i < 3; ++i) round();
    Lane hash;
    for (std::size_t i = 0; i < Lanes; ++i) hash[i] = v0_[i] ^ v1_[i] ^ v2_[i] ^ v3_[i];
    return hash;
  }

 private:
  void round() {
    for (std::size_t i = 0; i < Lanes; ++i) {
      v0_[i] += v1_[i];
      v1_[i] = std::rotl(v1_[i], 13) ^ v0_[i];
      v0_[i] = std::rotl(v0_[i], 32);
      v2_[i] += v3_[i];
      v3_[i] = std::rotl(v3_[i], 16) ^ v2_[i];
      v0_[i] += v3_[i];
      v3_[i] = std::rotl(v3_[i], 21) ^ v0_[i];
      v2_[i] += v1_[i];
      v1_[i] = std::rotl(v1_[i], 17) ^ v2_[i];
      v2_[i] = std::rotl(v2_[i], 32);
    }
  }

  Lane v0_, v1_, v2_, v3_;
};

/// SipHash-1-3 of `Words` 64-bit words in memory order of a little-endian machine.
template <std::size_t Words>
std::uint64_t siphash13(const HashKey& key, const std::array<std::uint64_t, Words>& words) {
  SipHash13<1> hash(key);
  for (const std::uint64_t word : words) hash.add({word});
  return hash.finish(Words * 8)[0];
}

}  // namespace weir
