#include "control/server/event_filters.h"

#include <gtest/gtest.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>

#include <cerrno>

namespace weir::control {
namespace {

constexpr EventSubject kTcp{.subsystem = NFNL_SUBSYS_CTNETLINK,
                            .events = 0b101,
                            .protocol = IPPROTO_TCP,
                            .original_zone = 3,
                            .reply_zone = 4,
                            .mark = 0x17};

weir_event_filter filter_of(std::uint64_t events) {
  weir_event_filter filter{};
  filter.subsystem = NFNL_SUBSYS_CTNETLINK;
  filter.events = events;
  return filter;
}

TEST(EventFilters, LetEverythingThroughUntilOneIsSet) {
  EventFilters filters;
  EXPECT_TRUE(filters.admit(kTcp));
  EXPECT_EQ(filters.events(NFNL_SUBSYS_CTNETLINK), WEIR_EVENTS_ALL);
  ASSERT_TRUE(filters.set(as_bytes(filter_of(0b10))));
  EXPECT_FALSE(filters.admit(kTcp));
  EXPECT_EQ(filters.events(NFNL_SUBSYS_CTNETLINK), 0b10u);
  EXPECT_TRUE(filters.admit({.subsystem = NFNL_SUBSYS_NFTABLES, .events = 1}));
}

TEST(EventFilters, AnyOfAMessagesEventsIsEnough) {
  EventFilters filters;
  ASSERT_TRUE(filters.set(as_bytes(filter_of(0b100))));
  EXPECT_TRUE(filters.admit(kTcp));
}

TEST(EventFilters, AllConditionsMustHold) {
  weir_event_filter filter = filter_of(WEIR_EVENTS_ALL);
  filter.conditions = WEIR_EVENT_PROTOCOL | WEIR_EVENT_ZONE | WEIR_EVENT_MARK;
  filter.protocols[IPPROTO_TCP / 32] = 1u << IPPROTO_TCP % 32;
  filter.zone = 4;
  filter.mark = 0x10;
  filter.mark_mask = 0xf0;
  EventFilters filters;
  ASSERT_TRUE(filters.set(as_bytes(filter)));
  EXPECT_TRUE(filters.admit(kTcp));
  EventSubject other = kTcp;
  other.protocol = IPPROTO_UDP;
  EXPECT_FALSE(filters.admit(other));
  other = kTcp;
  other.reply_zone = 5;
  EXPECT_FALSE(filters.admit(other));
  other = kTcp;
  other.mark = 0x27;
  EXPECT_FALSE(filters.admit(other));
}

TEST(EventFilters, ALaterOneReplacesTheEarlier) {
  EventFilters filters;
  ASSERT_TRUE(filters.set(as_bytes(filter_of(0))));
  ASSERT_TRUE(filters.set(as_bytes(filter_of(1))));
  EXPECT_TRUE(filters.admit(kTcp));
  EXPECT_EQ(filters.get(NFNL_SUBSYS_CTNETLINK).events, 1u);
}

TEST(EventFilters, WhatTheyDontKnowIsRefused) {
  EventFilters filters;
  const std::uint32_t torn = 0;
  EXPECT_EQ(filters.set(as_bytes(torn)).error().code, EINVAL);
  weir_event_filter filter = filter_of(1);
  filter.conditions = 8;
  EXPECT_EQ(filters.set(as_bytes(filter)).error().code, EINVAL);
  filter = filter_of(1);
  filter.reserved = 1;
  EXPECT_EQ(filters.set(as_bytes(filter)).error().code, EINVAL);
  filter = filter_of(1);
  filter.subsystem = NFNL_SUBSYS_NFTABLES;
  filter.conditions = WEIR_EVENT_MARK;
  EXPECT_EQ(filters.set(as_bytes(filter)).error().code, EINVAL);
  EXPECT_TRUE(filters.admit(kTcp)) << "nothing has been set";
}

}  // namespace
}  // namespace weir::control
