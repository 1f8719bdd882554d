#include "conntrack/index.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <atomic>
#include <random>
#include <thread>
#include <unordered_map>

namespace weir::conntrack {
namespace {

class IndexTest : public testing::Test {
 protected:
  static bool any(Found) { return true; }
  std::optional<Found> find(std::uint32_t tag, std::uint32_t number) {
    return index_.find(tag, [&](Found f) { return f.number == number; }, &restarts_);
  }
  bool insert(std::uint32_t tag, std::uint32_t number, bool reserved = false) {
    const Index::Guard guard(index_, tag);
    return index_.insert(tag, {number, Direction::reply}, reserved);
  }
  bool erase(std::uint32_t tag, std::uint32_t number) {
    const Index::Guard guard(index_, tag);
    return index_.erase(tag, {number, Direction::reply});
  }

  Index index_{*Index::reserve(200000)};
  std::uint32_t restarts_ = 0;
};

TEST_F(IndexTest, PacketsDoNotSeeReservations) {
  ASSERT_TRUE(insert(42, 7, true));
  EXPECT_FALSE(find(42, 7));
  {
    const Index::Guard guard(index_, 42);
    EXPECT_TRUE(index_.find_locked(42, any));
    index_.publish(42, {7, Direction::reply});
  }
  const auto found = find(42, 7);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->direction, Direction::reply);
  EXPECT_TRUE(erase(42, 7));
  EXPECT_FALSE(erase(42, 7));
  EXPECT_EQ(index_.tuples(), 0u);
}

TEST_F(IndexTest, OneTagHasRoomForTwoLinesAndNoMore) {
  std::uint32_t held = 0;
  while (held < 100 && insert(5, held + 1)) ++held;
  EXPECT_EQ(held, 2 * Index::kSlots);
  for (std::uint32_t number = 1; number <= held; ++number) EXPECT_TRUE(find(5, number));
}

TEST_F(IndexTest, StaysWithinItsSizeAndFindsRoomAtEveryPointOfARound) {
  std::mt19937 random(3);
  std::vector<std::uint32_t> tags;
  std::uint32_t refused = 0;
  for (std::uint32_t number = 1; number <= 150000; ++number) {
    const auto tag = static_cast<std::uint32_t>(random());
    for (int attempt = 0; !insert(tag, number); ++attempt) {
      ++refused;
      ASSERT_LT(attempt, 4);
      index_.grow_anyway(2);
    }
    tags.push_back(tag);
    index_.grow(2);
    if (number > 10000) {
      // Two tuples a connection: 24 bytes at most.
      ASSERT_LE(index_.memory_bytes(), number / 2 * 24 + 64);
    }
  }
  EXPECT_LT(refused, 30u);  // Early splits are rare.
  for (std::uint32_t i = 0; i < tags.size(); ++i) ASSERT_TRUE(find(tags[i], i + 1));
}

TEST_F(IndexTest, BehavesLikeAMap) {
  rc::check([] {
    Index index(*Index::reserve(40000));
    std::unordered_map<std::uint32_t, std::uint32_t> model;  // Number to tag.
    const auto seed = *rc::gen::arbitrary<std::uint32_t>();
    // Few distinct tags now and then, so that lines fill up.
    const auto tag_range = *rc::gen::element<std::uint32_t>(64, 5000, 0xffffffff);
    std::mt19937 random(seed);
    std::uint32_t restarts = 0;
    for (int step = 0; step < 2000; ++step) {
      const std::uint32_t number = 1 + random() % 1000;
      const auto known = model.find(number);
      if (known == model.end()) {
        const std::uint32_t tag = random() % tag_range;
        const Index::Guard guard(index, tag);
        if (index.insert(tag, {number, Direction::original}, false)) model[number] = tag;
      } else if (random() % 3 == 0) {
        const Index::Guard guard(index, known->second);
        RC_ASSERT(index.erase(known->second, {number, Direction::original}));
        model.erase(known);
      }
      if (random() % 2 == 0) index.grow_anyway(1);
    }
    RC_ASSERT(index.tuples() == model.size());
    for (std::uint32_t number = 1; number <= 1000; ++number) {
      const auto known = model.find(number);
      const std::uint32_t tag = known != model.end() ? known->second : random() % tag_range;
      const auto found = index.find(tag, [&](Found f) { return f.number == number; }, &restarts);
      RC_ASSERT(found.has_value() == (known != model.end()));
    }
  });
}

TEST_F(IndexTest, NothingIsMissedWhileLinesSplit) {
  constexpr std::uint32_t kCount = 4000;
  std::mt19937 random(9);
  std::vector<std::uint32_t> tags;
  for (std::uint32_t i = 0; i < kCount; ++i) {
    tags.push_back(static_cast<std::uint32_t>(random()));
    ASSERT_TRUE(insert(tags[i], i + 1));
  }
  std::atomic<bool> stop{false};
  std::atomic<int> missed{0};
  std::thread reader([&] {
    std::uint32_t restarts = 0;
    while (!stop.load()) {
      for (std::uint32_t i = 0; i < kCount; ++i) {
        if (!index_.find(tags[i], [&](Found f) { return f.number == i + 1; }, &restarts)) ++missed;
      }
    }
  });
  while (index_.lines() < 30000) {
    index_.grow_anyway(16);
    std::this_thread::yield();
  }
  stop = true;
  reader.join();
  EXPECT_EQ(missed.load(), 0);
}

}  // namespace
}  // namespace weir::conntrack
