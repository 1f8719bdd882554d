#include "conntrack/sequence_adjustment.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

namespace weir::conntrack {
namespace {

TEST(SequenceAdjustment, NothingChangesNumbersUntilSomethingIsRewritten) {
  const SequenceAdjustment none;
  EXPECT_TRUE(none.is_nothing());
  EXPECT_EQ(none.seen(1000), 1000u);
  EXPECT_EQ(none.sent(1000), 1000u);
}

TEST(SequenceAdjustment, ShiftsWhatComesAfterTheText) {
  SequenceAdjustment adjustment;
  ASSERT_TRUE(adjustment.add(1000, 20, 3));
  EXPECT_EQ(adjustment.seen(1000), 1000u);
  EXPECT_EQ(adjustment.seen(1019), 1019u);
  EXPECT_EQ(adjustment.seen(1020), 1023u);
  EXPECT_EQ(adjustment.sent(1000), 1000u);
  EXPECT_EQ(adjustment.sent(1023), 1020u);
}

TEST(SequenceAdjustment, AnAckInsideTheTextAcknowledgesNoneOfIt) {
  SequenceAdjustment longer, shorter;
  longer.add(1000, 20, 5);
  shorter.add(1000, 20, -5);
  EXPECT_EQ(longer.sent(1024), 1000u);
  EXPECT_EQ(longer.sent(1025), 1020u);
  EXPECT_EQ(shorter.sent(1014), 1000u);
  EXPECT_EQ(shorter.sent(1015), 1020u);
}

TEST(SequenceAdjustment, TheSameTextSentAgainIsNotedOnce) {
  SequenceAdjustment adjustment;
  EXPECT_TRUE(adjustment.add(1000, 20, 3));
  EXPECT_FALSE(adjustment.add(1000, 20, 3));
  EXPECT_EQ(adjustment.seen(1020), 1023u);
  EXPECT_TRUE(adjustment.has_begin(1000));
  EXPECT_FALSE(adjustment.has_begin(1020));
}

TEST(SequenceAdjustment, NumbersWrapAround) {
  SequenceAdjustment adjustment;
  adjustment.add(0xfffffff0, 20, 3);
  EXPECT_EQ(adjustment.seen(0xfffffff0), 0xfffffff0u);
  EXPECT_EQ(adjustment.seen(4), 7u);
  EXPECT_EQ(adjustment.sent(7), 4u);
}

TEST(SequenceAdjustment, TheSummaryIsWhatTheKernelKeeps) {
  SequenceAdjustment adjustment;
  adjustment.add(1000, 20, 3);
  adjustment.add(2000, 20, -1);
  EXPECT_EQ(adjustment.summary(), (SequenceAdjustment::Summary{2000, 3, 2}));
  SequenceAdjustment copy;
  copy.set(adjustment.summary());
  EXPECT_EQ(copy.summary(), adjustment.summary());
  EXPECT_EQ(copy.seen(1500), 1503u);
  EXPECT_EQ(copy.seen(2001), 2003u);
}

/// A sender's text, some parts of which a middle makes longer or shorter: every number of either
/// side, old ones included, is where the text is.
RC_GTEST_PROP(SequenceAdjustment, FollowsTheText, (std::uint32_t start)) {
  const auto lengths = *rc::gen::container<std::vector<int>>(
      *rc::gen::inRange(1, static_cast<int>(SequenceAdjustment::kMost) + 1),
      rc::gen::inRange(1, 40));
  SequenceAdjustment adjustment;
  std::uint32_t sent = start;
  std::uint32_t seen = start;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> edges{{sent, seen}};
  for (const int length : lengths) {
    const int plain = *rc::gen::inRange(0, 100);
    sent += static_cast<std::uint32_t>(plain);
    seen += static_cast<std::uint32_t>(plain);
    edges.emplace_back(sent, seen);
    const int change = *rc::gen::inRange(-length + 1, 30);
    RC_ASSERT(adjustment.add(sent, static_cast<std::uint16_t>(length), change));
    sent += static_cast<std::uint32_t>(length);
    seen += static_cast<std::uint32_t>(length + change);
    edges.emplace_back(sent, seen);
  }
  for (const auto& [own, shown] : edges) {
    RC_ASSERT(adjustment.seen(own) == shown);
    RC_ASSERT(adjustment.sent(shown) == own);
  }
}

TEST(SequenceAdjustment, WhatIsTooOldStaysInTheSum) {
  SequenceAdjustment adjustment;
  std::uint32_t sent = 0;
  for (std::size_t i = 0; i < SequenceAdjustment::kMost + 3; ++i, sent += 100) {
    adjustment.add(sent, 10, 1);
  }
  EXPECT_EQ(adjustment.seen(sent), sent + SequenceAdjustment::kMost + 3);
  EXPECT_EQ(adjustment.sent(sent + SequenceAdjustment::kMost + 3), sent);
}

}  // namespace
}  // namespace weir::conntrack
