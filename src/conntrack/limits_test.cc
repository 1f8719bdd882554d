#include "conntrack/limits.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "conntrack/control.h"
#include "conntrack/invert.h"
#include "conntrack/test_packet.h"
#include "conntrack/tracker.h"

namespace weir::conntrack {
namespace {

using namespace std::chrono_literals;
using packet::Drop;

/// What a packet with FrameSpec's defaults begins.
Tuple tuple_of(const char* src, std::uint16_t src_port) {
  Tuple tuple;
  tuple.src = wire::parse_address(src)->address;
  tuple.dst = wire::parse_address(wire::FrameSpec{}.dst)->address;
  tuple.src_port = Be16::from_host(src_port);
  tuple.dst_port = Be16::from_host(wire::FrameSpec{}.dst_port);
  tuple.family = wire::Family::ip;
  tuple.protocol = wire::protocol::kUdp;
  return tuple;
}

class LimitsTest : public testing::Test {
 protected:
  void make(const TableOptions& options) {
    table_ = std::move(*Table::create(options, now_));
    for (std::uint32_t i = 0; i < table_->workers(); ++i) table_->tracker(i).online();
    participant_ = table_->control_participant(0);
    table_->set_waker(
        [](void* self, std::uint32_t worker) {
          auto& test = *static_cast<LimitsTest*>(self);
          test.table_->tracker(worker).serve_mailbox(test.now_);
        },
        this);
  }
  void SetUp() override { make({.max = 100, .workers = 2}); }
  Limits& limits() { return table_->limits(); }

  /// Workers and the control thread go about their work until limits are what was configured.
  void settle() {
    for (int i = 0; i < 10; ++i) turn();
  }
  void turn() {
    limits().tend(participant_);
    for (std::uint32_t i = 0; i < table_->workers(); ++i) {
      table_->tracker(i).expire(now_);
      table_->tracker(i).quiet();
    }
  }
  void configure(const LimitSettings& settings) {
    ASSERT_TRUE(limits().configure(settings));
    settle();
    ASSERT_EQ(limits().is_complete(), settings.is_limiting());
  }

  packet::Packet& track(TestPacket& packet, std::uint32_t worker = 0, std::uint16_t zone = 0) {
    packet.again();
    packet.ct.zone = zone;
    packet::Batch batch = batch_of(now_, {&packet});
    packet::Batch later;
    table_->tracker(worker).track(batch, later);
    return packet;
  }
  /// Begins a connection of its own, that is published; why not.
  Drop begin(const char* src, std::uint16_t port, std::uint32_t worker = 0,
             std::uint16_t zone = 0) {
    TestPacket packet(wire::FrameSpec{.src = src, .src_port = port});
    if (track(packet, worker, zone).drop == Drop::none) {
      EXPECT_EQ(table_->tracker(worker).confirm(packet, now_), Confirmed::done);
    }
    return packet.drop;
  }
  /// How many more connections of `src` are let in.
  int room(const char* src, std::uint16_t first_port, std::uint16_t zone = 0) {
    int count = 0;
    while (count < 100 &&
           begin(src, static_cast<std::uint16_t>(first_port + count), 0, zone) == Drop::none)
      ++count;
    return count;
  }

  Time now_ = Time(1000s);
  std::unique_ptr<Table> table_;
  std::size_t participant_ = 0;
};

TEST_F(LimitsTest, WithoutALimitNothingIsCounted) {
  EXPECT_EQ(room("192.0.2.1", 1), 100);
  EXPECT_EQ(limits().sources(), 0u);
}

TEST_F(LimitsTest, ASourceGetsItsConnectionsAndNoMore) {
  configure({.per_source = 3});
  EXPECT_EQ(room("192.0.2.1", 1), 3);
  EXPECT_EQ(begin("192.0.2.1", 9), Drop::conntrack_source_limit);
  EXPECT_EQ(begin("192.0.2.2", 1), Drop::none) << "each has its own";
  EXPECT_EQ(begin("192.0.2.1", 2), Drop::none) << "a connection that is there goes on";
  const StatisticsSnapshot counts = table_->statistics(0);
  EXPECT_EQ(counts.refused_source, 2u);
  EXPECT_EQ(counts.refused_zone, 0u);
  EXPECT_EQ(counts.drop, 2u);
  EXPECT_EQ(table_->count(), 4u);
  EXPECT_EQ(limits().sources(), 2u);
}

TEST_F(LimitsTest, AnEndMakesRoomWhoeverBringsItAbout) {
  configure({.per_source = 4});
  ASSERT_EQ(room("192.0.2.1", 1), 4);

  // By a tool, on the worker that owns it.
  Control control(*table_, participant_);
  Tuple tuple = tuple_of("192.0.2.1", 1);
  ASSERT_TRUE(control.remove(control.find(tuple, now_).value()));
  EXPECT_EQ(room("192.0.2.1", 11), 1);

  // By another worker, whose packet finds that the first one's entry has expired.
  now_ += 31s;
  EXPECT_EQ(begin("192.0.2.1", 2, 1), Drop::none);

  // By time.
  settle();
  EXPECT_EQ(room("192.0.2.1", 21), 3);

  // By a flush.
  EXPECT_EQ(control.flush(now_, 0, [](const Snapshot&) { return true; }), 4u);
  settle();
  EXPECT_EQ(limits().sources(), 0u);
  EXPECT_EQ(room("192.0.2.1", 31), 4);
}

TEST_F(LimitsTest, UnconfirmedOnesCountUntilTheyAreDiscarded) {
  configure({.per_source = 1});
  TestPacket first(wire::FrameSpec{.src = "192.0.2.1", .src_port = 1});
  ASSERT_EQ(track(first).drop, Drop::none);
  EXPECT_EQ(begin("192.0.2.1", 2), Drop::conntrack_source_limit);
  table_->tracker(0).discard(first);
  EXPECT_EQ(limits().sources(), 0u);
  EXPECT_EQ(begin("192.0.2.1", 2), Drop::none);
}

TEST_F(LimitsTest, AZoneHasALimitOfItsOwn) {
  configure({.per_source = 3, .per_zone = 4});
  EXPECT_EQ(room("192.0.2.1", 1, 7), 3);
  EXPECT_EQ(room("192.0.2.2", 1, 7), 1);
  EXPECT_EQ(begin("192.0.2.3", 1, 0, 7), Drop::conntrack_zone_limit);
  EXPECT_EQ(room("192.0.2.1", 1), 3) << "the same address in another zone is another source";
  EXPECT_EQ(table_->statistics(0).refused_zone, 2u);
  EXPECT_EQ(table_->statistics(0).refused_source, 2u);
}

TEST_F(LimitsTest, AnIpv6SourceIsItsNetwork) {
  configure({.per_source = 2});
  const auto begin6 = [this](const char* src) {
    TestPacket packet(wire::FrameSpec{.src = src, .dst = "2001:db8:f::1"});
    if (track(packet).drop == Drop::none) table_->tracker(0).confirm(packet, now_);
    return packet.drop;
  };
  EXPECT_EQ(begin6("2001:db8::1"), Drop::none);
  EXPECT_EQ(begin6("2001:db8::ffff:2"), Drop::none);
  EXPECT_EQ(begin6("2001:db8::3:0:0:1"), Drop::conntrack_source_limit);
  EXPECT_EQ(begin6("2001:db8:0:1::1"), Drop::none);
}

TEST_F(LimitsTest, AFullTableTakesTheCountBack) {
  make({.max = 2, .workers = 2});
  configure({.per_source = 10});
  // Held by packets under way: nothing can go.
  TestPacket one(wire::FrameSpec{.src_port = 1}), two(wire::FrameSpec{.src_port = 2});
  track(one);
  track(two);
  EXPECT_EQ(begin("192.0.2.9", 3), Drop::conntrack_table_full);
  EXPECT_EQ(limits().sources(), 1u);
}

TEST_F(LimitsTest, TheRefusedEvictNobody) {
  make({.max = 4, .workers = 1});
  configure({.per_source = 2});
  room("192.0.2.1", 1);
  room("192.0.2.2", 1);
  EXPECT_EQ(room("192.0.2.1", 50), 0);
  EXPECT_EQ(table_->statistics(0).early_drop, 0u);
}

TEST_F(LimitsTest, WhatWasThereBeforeALimitIsCounted) {
  ASSERT_EQ(begin("192.0.2.1", 1), Drop::none);
  ASSERT_EQ(begin("192.0.2.1", 2, 1), Drop::none);
  TestPacket waiting(wire::FrameSpec{.src = "192.0.2.1", .src_port = 3});
  track(waiting);  // And its packet waits for a tool meanwhile.
  configure({.per_source = 3});
  EXPECT_EQ(table_->tracker(0).confirm(waiting, now_), Confirmed::done);
  EXPECT_EQ(begin("192.0.2.1", 4), Drop::conntrack_source_limit);
  now_ += 31s;
  settle();
  EXPECT_EQ(table_->count(), 0u);
  EXPECT_EQ(limits().sources(), 0u);
}

TEST_F(LimitsTest, NothingIsCountedWhileAWorkerMayStillMissAnEnd) {
  ASSERT_TRUE(limits().configure({.per_source = 1}));
  limits().tend(participant_);
  limits().tend(participant_);
  EXPECT_EQ(limits().era(), 0);
  settle();
  EXPECT_NE(limits().era(), 0);
}

TEST_F(LimitsTest, LimitsAreLive) {
  configure({.per_source = 5});
  ASSERT_EQ(room("192.0.2.1", 1), 5);
  configure({.per_source = 2});
  EXPECT_EQ(room("192.0.2.1", 10), 0) << "those that are there stay";
  EXPECT_EQ(table_->count(), 5u);
  configure({.per_source = 7});
  EXPECT_EQ(room("192.0.2.1", 10), 2);
  configure({});
  EXPECT_EQ(limits().sources(), 0u);
  EXPECT_EQ(room("192.0.2.1", 20), 100) << "the full table evicts";
  now_ += 31s;
  settle();
  ASSERT_EQ(room("192.0.2.1", 1), 100);
  now_ += 31s;
  settle();

  // Other prefixes: counted afresh.
  ASSERT_EQ(begin("192.0.2.1", 1), Drop::none);
  ASSERT_EQ(begin("192.0.2.2", 1), Drop::none);
  configure({.per_source = 3, .ip_prefix = 24});
  EXPECT_EQ(limits().sources(), 1u);
  EXPECT_EQ(room("192.0.2.77", 1), 1);
  configure({.per_source = 3});
  EXPECT_EQ(limits().sources(), 3u);
}

TEST_F(LimitsTest, TheyComeAndGoMoreOftenThanErasHaveNumbers) {
  ASSERT_EQ(begin("192.0.2.1", 1), Drop::none);
  for (int i = 0; i < 300; ++i) {
    configure({.per_source = 1});
    ASSERT_EQ(limits().sources(), 1u);
    configure({});
  }
}

TEST_F(LimitsTest, WhatARestartRecoversIsCounted) {
  const int fd = memfd_create("table", 0);
  make({.max = 100, .workers = 2, .arena_fd = fd});
  configure({.per_source = 3});
  ASSERT_EQ(begin("192.0.2.1", 1), Drop::none);
  ASSERT_EQ(begin("192.0.2.1", 2, 1), Drop::none);
  make({.max = 100, .workers = 2, .arena_fd = fd});
  ASSERT_EQ(table_->count(), 2u);
  configure({.per_source = 3});
  EXPECT_EQ(room("192.0.2.1", 10), 1);

  // Taken over: the entries are another engine's until it is gone.
  make({.max = 100, .workers = 2, .arena_fd = fd, .recovers_later = true});
  ASSERT_TRUE(limits().configure({.per_source = 4}));
  settle();
  EXPECT_FALSE(limits().is_complete());
  table_->recover(now_);
  settle();
  EXPECT_TRUE(limits().is_complete());
  EXPECT_EQ(room("192.0.2.1", 20), 1);
  close(fd);
}

TEST_F(LimitsTest, ToolsAreCountedButNotRefused) {
  configure({.per_source = 1});
  Control control(*table_, participant_);
  for (std::uint16_t port = 1; port <= 3; ++port) {
    Creation creation;
    creation.original = tuple_of("192.0.2.1", port);
    creation.reply = *invert(creation.original);
    creation.edit.timeout = 30s;
    EXPECT_EQ(control.create(creation), 0);
  }
  EXPECT_EQ(begin("192.0.2.1", 9), Drop::conntrack_source_limit);
  now_ += 31s;
  settle();
  EXPECT_EQ(limits().sources(), 0u);
}

TEST_F(LimitsTest, ALongPrefixIsRefused) {
  EXPECT_FALSE(limits().configure({.per_source = 1, .ip_prefix = 33}));
  EXPECT_FALSE(limits().configure({.per_source = 1, .ip6_prefix = 129}));
}

TEST_F(LimitsTest, AFloodOfSourcesNeedsNoMoreRecordsThanThereAreConnections) {
  configure({.per_source = 1});
  for (std::uint32_t i = 0; i < 5000; ++i) {
    const std::string src = wire::to_string(wire::Address::ip(0x0a000000u + i), wire::Family::ip);
    TestPacket packet(wire::FrameSpec{.src = src});
    if (track(packet).drop == Drop::none) table_->tracker(0).confirm(packet, now_);
    if (i % 10 == 0) turn();
    EXPECT_LE(limits().sources(), table_->count());
  }
  EXPECT_EQ(limits().sources(), table_->count());
}

/// Two workers that begin, end and kill each other's connections while limits come and go.
TEST(LimitsThreads, CountsAreRightWhenAllIsOver) {
  const Time start(1000s);
  const auto table = std::move(*Table::create({.max = 400, .workers = 2}, start));
  std::atomic<bool> ends{false};
  const auto work = [&](std::uint32_t worker) {
    Tracker& tracker = table->tracker(worker);
    for (std::uint32_t i = 0; !ends.load(); ++i) {
      const Time now = start + std::chrono::milliseconds(i);
      tracker.online();
      tracker.serve_mailbox(now);
      // Both send the same flows, so that one finds what the other has made, or is making.
      TestPacket packet(wire::FrameSpec{.src = i % 3 == 0 ? "192.0.2.1" : "192.0.2.2",
                                        .src_port = static_cast<std::uint16_t>(i * 7 % 600 + 1)});
      packet::Batch batch = batch_of(now, {&packet});
      packet::Batch later;
      tracker.track(batch, later);
      if (packet.drop == Drop::none) {
        i % 5 == 0 ? tracker.discard(packet) : void(tracker.confirm(packet, now));
      }
      tracker.expire(now);
      tracker.quiet();
      if (i % 16 == 0) tracker.offline();
    }
    tracker.offline();
  };
  std::thread one(work, 0), two(work, 1);
  const std::size_t participant = table->control_participant(0);
  const auto settle = [&](const LimitSettings& settings) {
    ASSERT_TRUE(table->limits().configure(settings));
    do {
      table->limits().tend(participant);
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    } while (table->limits().is_complete() != settings.is_limiting());
  };
  for (int i = 0; i < 60; ++i) {
    settle({.per_source = 150, .per_zone = 300});
    std::this_thread::sleep_for(2ms);
    if (i != 59) settle({});
  }
  ends = true;
  one.join();
  two.join();

  EXPECT_LE(table->limits().sources(), 2u);
  for (std::uint32_t worker = 0; worker < 2; ++worker) {
    Tracker& tracker = table->tracker(worker);
    tracker.online();
    for (int i = 0; i < 10; ++i) {
      tracker.expire(start + 10h, 1000);
      tracker.quiet();
    }
    tracker.offline();
  }
  EXPECT_EQ(table->count(), 0u);
  EXPECT_EQ(table->limits().sources(), 0u);
}

}  // namespace
}  // namespace weir::conntrack
