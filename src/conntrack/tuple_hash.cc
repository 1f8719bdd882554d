// One SipHash is a chain of dependent additions and rotations that leaves most of the processor
// idle, so four run side by side in a vector. The rounds are compiled three times: for AVX-512,
// where a rotation is one instruction, for AVX2, and for every x86-64. Which one runs is decided
// once, by what the processor says it can do.
#include "conntrack/tuple_hash.h"

#include <array>
#include <cstring>

#include "base/bytes.h"

namespace weir::conntrack {
namespace {

constexpr std::size_t kWords = sizeof(Tuple) / 8;

constexpr std::size_t kLanes = 4;
using Lanes [[gnu::vector_size(8 * kLanes)]] = std::uint64_t;

struct State {
  Lanes v0, v1, v2, v3;
};

[[gnu::always_inline]] inline void rotate(Lanes& v, int bits) { v = v << bits | v >> (64 - bits); }

[[gnu::always_inline]] inline void round(State& s) {
  s.v0 += s.v1;
  rotate(s.v1, 13);
  s.v1 ^= s.v0;
  rotate(s.v0, 32);
  s.v2 += s.v3;
  rotate(s.v3, 16);
  s.v3 ^= s.v2;
  s.v0 += s.v3;
  rotate(s.v3, 21);
  s.v3 ^= s.v0;
  s.v2 += s.v1;
  rotate(s.v1, 17);
  s.v1 ^= s.v2;
  rotate(s.v2, 32);
}

[[gnu::always_inline]] inline void hash_four(const HashKey& key, const Tuple* const* tuples,
                                             std::uint64_t* hashes) {
  const auto word = [&](std::size_t lane, std::size_t i) {
    return load<std::uint64_t>(reinterpret_cast<const std::uint8_t*>(tuples[lane]) + i * 8);
  };
  const Lanes zero = {};
  State s{zero + (key.low ^ 0x736f6d6570736575), zero + (key.high ^ 0x646f72616e646f6d),
          zero + (key.low ^ 0x6c7967656e657261), zero + (key.high ^ 0x7465646279746573)};
  for (std::size_t i = 0; i < kWords; ++i) {
    const Lanes m = {word(0, i), word(1, i), word(2, i), word(3, i)};
    s.v3 ^= m;
    round(s);
    s.v0 ^= m;
  }
  const Lanes length = zero + (std::uint64_t{sizeof(Tuple)} << 56);
  s.v3 ^= length;
  round(s);
  s.v0 ^= length;
  s.v2 ^= zero + 0xff;
  round(s);
  round(s);
  round(s);
  const Lanes hash = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
  std::memcpy(hashes, &hash, sizeof hash);
}

[[gnu::always_inline]] inline void hash_in_fours(const HashKey& key, const Tuple* const* tuples,
                                                 std::size_t count, std::uint64_t* hashes) {
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) hash_four(key, tuples + i, hashes + i);
  for (; i < count; ++i) hashes[i] = hash_tuple(key, *tuples[i]);
}

using HashMany = void (*)(const HashKey&, const Tuple* const*, std::size_t, std::uint64_t*);

#if defined(__x86_64__)
[[gnu::target("avx512f,avx512vl")]] void hash_avx512(const HashKey& key, const Tuple* const* tuples,
                                                     std::size_t count, std::uint64_t* hashes) {
  hash_in_fours(key, tuples, count, hashes);
}

[[gnu::target("avx2")]] void hash_avx2(const HashKey& key, const Tuple* const* tuples,
                                       std::size_t count, std::uint64_t* hashes) {
  hash_in_fours(key, tuples, count, hashes);
}
#endif

void hash_anywhere(const HashKey& key, const Tuple* const* tuples, std::size_t count,
                   std::uint64_t* hashes) {
  hash_in_fours(key, tuples, count, hashes);
}

HashMany best() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512vl")) return hash_avx512;
  if (__builtin_cpu_supports("avx2")) return hash_avx2;
#endif
  return hash_anywhere;
}

}  // namespace

std::uint64_t hash_tuple(const HashKey& key, const Tuple& tuple) {
  std::array<std::uint64_t, kWords> words;
  std::memcpy(words.data(), &tuple, sizeof tuple);
  return siphash13(key, words);
}

void hash_tuples(const HashKey& key, const Tuple* const* tuples, std::size_t count,
                 std::uint64_t* hashes) {
  static const HashMany kBest = best();
  kBest(key, tuples, count, hashes);
}

}  // namespace weir::conntrack
