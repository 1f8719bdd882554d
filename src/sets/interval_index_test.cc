#include "sets/interval_index.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>

namespace weir::sets {
namespace {

using Key = std::vector<std::uint8_t>;

/// Keys of few distinct bytes, so that equal and neighbouring ones are common.
Key any_key(std::size_t bytes) {
  Key key(bytes, 0);
  for (const std::size_t at : {std::size_t{0}, bytes / 2, bytes - 1}) {
    key[at] = *rc::gen::element<std::uint8_t>(0, 1, 2, 0x7f, 0x80, 0xff);
  }
  return key;
}

TEST(IntervalIndex, FloorLikeASortedVector) {
  EXPECT_TRUE(rc::check([] {
    const auto bytes = *rc::gen::element<std::size_t>(1, 2, 3, 4, 8, 16, 20);
    const auto count = *rc::gen::inRange<std::size_t>(0, 60);
    std::vector<Key> keys;
    for (std::size_t i = 0; i < count; ++i) keys.push_back(any_key(bytes));
    std::sort(keys.begin(), keys.end());
    Key flat;
    for (const Key& key : keys) flat.insert(flat.end(), key.begin(), key.end());
    const IntervalIndex index(static_cast<std::uint16_t>(bytes), flat);
    for (int look = 0; look < 20; ++look) {
      const Key key = any_key(bytes);
      const auto behind = std::upper_bound(keys.begin(), keys.end(), key);
      const auto expected = behind == keys.begin()
                                ? IntervalIndex::kNone
                                : static_cast<std::uint32_t>(behind - keys.begin() - 1);
      RC_ASSERT(index.floor(key) == expected);
    }
  }));
}

}  // namespace
}  // namespace weir::sets
