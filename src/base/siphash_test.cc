#include "base/siphash.h"

#include <gtest/gtest.h>

namespace weir {
namespace {

constexpr HashKey kKey{0x0706050403020100, 0x0f0e0d0c0b0a0908};

/// Key 00..0f over the bytes 00, 01, 02 ...; the values come from an independent implementation
/// that agrees with the SipHash-2-4 vector of the paper.
TEST(SipHash, MatchesTheReferenceForWholeWords) {
  EXPECT_EQ(siphash13<0>(kKey, {}), 0xabac0158050fc4dc);
  EXPECT_EQ(siphash13<1>(kKey, {0x0706050403020100}), 0x369095118d299a8e);
  EXPECT_EQ(siphash13<5>(kKey, {0x706050403020100, 0xf0e0d0c0b0a0908, 0x1716151413121110,
                                0x1f1e1d1c1b1a1918, 0x2726252423222120}),
            0xc1d2363299e41531);
}

TEST(SipHash, LanesAreIndependentMessages) {
  SipHash13<4> four(kKey);
  four.add({1, 2, 3, 4});
  four.add({5, 6, 7, 8});
  const auto hashes = four.finish(16);
  EXPECT_EQ(hashes[0], siphash13<2>(kKey, {1, 5}));
  EXPECT_EQ(hashes[3], siphash13<2>(kKey, {4, 8}));
}

TEST(SipHash, DependsOnEveryKeyBit) {
  const auto hash = [](const HashKey& key) { return siphash13<2>(key, {1, 2}); };
  for (int bit = 0; bit < 64; ++bit) {
    EXPECT_NE(hash({std::uint64_t{1} << bit, 0}), hash({0, 0}));
    EXPECT_NE(hash({0, std::uint64_t{1} << bit}), hash({0, 0}));
  }
}

}  // namespace
}  // namespace weir
