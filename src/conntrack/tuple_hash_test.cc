#include "conntrack/tuple_hash.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

namespace weir::conntrack {
namespace {

constexpr HashKey kKey{0x0706050403020100, 0x0f0e0d0c0b0a0908};

Tuple tuple(std::uint8_t seed) {
  std::array<std::uint8_t, sizeof(Tuple)> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(seed + 7 * i);
  Tuple result;
  std::memcpy(static_cast<void*>(&result), bytes.data(), sizeof result);
  return result;
}

TEST(TupleHash, ManyAtOnceHaveTheHashesThatTheyHaveAlone) {
  for (std::size_t count = 0; count <= 64; ++count) {
    std::array<Tuple, 64> tuples;
    std::array<const Tuple*, 64> pointers;
    for (std::size_t i = 0; i < count; ++i) {
      tuples[i] = tuple(static_cast<std::uint8_t>(i + count));
      pointers[i] = &tuples[i];
    }
    std::array<std::uint64_t, 65> hashes;
    hashes.fill(0xabcdef);
    hash_tuples(kKey, pointers.data(), count, hashes.data());
    for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(hashes[i], hash_tuple(kKey, tuples[i]));
    EXPECT_EQ(hashes[count], 0xabcdefu);
  }
}

}  // namespace
}  // namespace weir::conntrack
