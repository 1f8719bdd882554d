#include "sets/box_index.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstring>

#include "base/endian.h"

namespace weir::sets {
namespace {

// An address, a port and a protocol: 4, 2 and 1 bytes, each at a multiple of four.
constexpr Fields kFields{.bytes = {4, 2, 1}, .count = 3};

struct Corner {
  std::array<std::uint8_t, 12> key{};
  Bytes view() const { return key; }
};

Corner corner(std::uint32_t address, std::uint16_t port, std::uint8_t protocol) {
  Corner c;
  store(&c.key[0], Be32::from_host(address));
  store(&c.key[4], Be16::from_host(port));
  c.key[8] = protocol;
  return c;
}

struct Box {
  Corner low;
  Corner high;
};

bool contains(const Box& box, const Corner& key) {
  const auto inside = [&](std::size_t at, std::size_t bytes) {
    return std::memcmp(&box.low.key[at], &key.key[at], bytes) <= 0 &&
           std::memcmp(&key.key[at], &box.high.key[at], bytes) <= 0;
  };
  return inside(0, 4) && inside(4, 2) && inside(8, 1);
}

Box any_box(std::uint32_t address_bits) {
  const auto a = *rc::gen::inRange<std::uint32_t>(0, 1u << address_bits);
  const auto b = *rc::gen::inRange<std::uint32_t>(0, 1u << address_bits);
  const auto p = *rc::gen::inRange<std::uint16_t>(0, 600);
  const auto q = *rc::gen::inRange<std::uint16_t>(0, 600);
  const auto protocol = *rc::gen::inRange<std::uint8_t>(0, 3);
  return {corner(std::min(a, b), std::min(p, q), 0),
          corner(std::max(a, b), std::max(p, q), protocol)};
}

std::uint32_t first_of(const std::vector<Box>& boxes, const Corner& key, std::uint32_t refused) {
  for (std::uint32_t i = 0; i < boxes.size(); ++i) {
    if (i != refused && contains(boxes[i], key)) return i;
  }
  return BoxIndex::kNone;
}

TEST(BoxIndex, FindsTheFirstBoxLikeAScan) {
  EXPECT_TRUE(rc::check([] {
    const auto count = *rc::gen::inRange<std::uint32_t>(0, 120);
    std::vector<Box> boxes;
    std::vector<std::uint8_t> lows;
    std::vector<std::uint8_t> highs;
    BoxForest forest(kFields);
    for (std::uint32_t i = 0; i < count; ++i) {
      boxes.push_back(any_box(10));
      lows.insert(lows.end(), boxes[i].low.key.begin(), boxes[i].low.key.end());
      highs.insert(highs.end(), boxes[i].high.key.begin(), boxes[i].high.key.end());
      forest.insert(boxes[i].low.view(), boxes[i].high.view());
    }
    const BoxIndex index(kFields, lows, highs);
    RC_ASSERT(index.size() == count);
    for (int look = 0; look < 50; ++look) {
      const Corner key =
          corner(*rc::gen::inRange<std::uint32_t>(0, 1100),
                 *rc::gen::inRange<std::uint16_t>(0, 650), *rc::gen::inRange<std::uint8_t>(0, 4));
      const auto refused = *rc::gen::inRange<std::uint32_t>(0, count + 1);
      const auto accept = [&](std::uint32_t number) { return number != refused; };
      RC_ASSERT(index.find(key.view(), accept) == first_of(boxes, key, refused));
      RC_ASSERT(forest.find(key.view(), accept) == first_of(boxes, key, refused));
    }
  }));
}

TEST(BoxIndex, ComparesFieldsLongerThanAWordAsOneNumber) {
  // One IPv6 field: 2001:db8::5 to 2001:db8:0:1::3. Word by word, the last word of the high end is
  // below the low end's.
  const Fields fields{.bytes = {16}, .count = 1};
  std::array<std::uint8_t, 16> low{0x20, 0x01, 0x0d, 0xb8};
  std::array<std::uint8_t, 16> high = low;
  low[15] = 5;
  high[7] = 1;
  high[15] = 3;
  const BoxIndex index(fields, low, high);
  const auto any = [](std::uint32_t) { return true; };
  std::array<std::uint8_t, 16> key = low;
  key[15] = 200;
  EXPECT_EQ(index.find(key, any), 0u);
  key[15] = 4;
  EXPECT_EQ(index.find(key, any), BoxIndex::kNone);
  key = high;
  EXPECT_EQ(index.find(key, any), 0u);
  key[15] = 4;
  EXPECT_EQ(index.find(key, any), BoxIndex::kNone);
}

TEST(BoxIndex, DisjointBoxesCostFewVisits) {
  // 30,000 hosts with one port each: the accept function is asked for the matching box alone.
  std::vector<std::uint8_t> lows;
  for (std::uint32_t i = 0; i < 30'000; ++i) {
    const Corner c = corner(i * 7, static_cast<std::uint16_t>(i), 6);
    lows.insert(lows.end(), c.key.begin(), c.key.end());
  }
  const BoxIndex index(kFields, lows, lows);
  int asked = 0;
  for (std::uint32_t i = 0; i < 30'000; i += 100) {
    const Corner c = corner(i * 7, static_cast<std::uint16_t>(i), 6);
    EXPECT_EQ(index.find(c.view(), [&](std::uint32_t) { return ++asked > 0; }), i);
  }
  EXPECT_EQ(asked, 300);
}

}  // namespace
}  // namespace weir::sets
