#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include "conntrack/control.h"
#include "conntrack/invert.h"
#include "conntrack/test_packet.h"
#include "conntrack/tracker.h"

namespace weir::conntrack {
namespace {

using namespace std::chrono_literals;

constexpr Time kStart = Time(1000s);

class RecoveryTest : public testing::Test {
 protected:
  void SetUp() override { fd_ = memfd_create("table", 0); }
  void TearDown() override { close(fd_); }

  /// An engine, the first or one that is started again.
  std::unique_ptr<Table> start(Time now, std::uint32_t max = 100) {
    auto table = Table::create({.max = max, .arena_fd = fd_}, now);
    if (!table) {
      error_ = table.error();
      return nullptr;
    }
    (*table)->tracker(0).online();
    return std::move(*table);
  }
  void track(Table& table, TestPacket& packet, Time now) {
    packet.again();
    packet::Batch batch = batch_of(now, {&packet});
    packet::Batch later;
    table.tracker(0).track(batch, later);
  }

  int fd_ = -1;
  Error error_;
  TestPacket request_{wire::FrameSpec{}};
  TestPacket answer_{wire::FrameSpec{
      .src = "198.51.100.1", .dst = "192.0.2.1", .src_port = 2000, .dst_port = 1000}};
  TestPacket unfinished_{wire::FrameSpec{.src_port = 7}};
};

TEST_F(RecoveryTest, ARestartedEngineGoesOnWithWhatWasCommitted) {
  Snapshot before;
  {
    const auto table = start(kStart);
    track(*table, request_, kStart);
    table->tracker(0).confirm(request_, kStart);
    before = table->snapshot(request_.ct.entry, kStart).value();
    track(*table, unfinished_, kStart);  // Its first packet never gets through.
    // The engine dies in the middle of an update.
    table->arena()[request_.ct.entry].lock.lock();
    table->arena()[request_.ct.entry].sequence.fetch_add(1);
  }

  const Time later = kStart + 10s;
  const auto table = start(later);
  ASSERT_TRUE(table);
  EXPECT_EQ(table->count(), 1u);
  track(*table, answer_, later);
  EXPECT_EQ(answer_.ct.info, packet::CtInfo::established_reply);
  const Snapshot after = table->snapshot(answer_.ct.entry, later).value();
  EXPECT_EQ(after.id, before.id);
  EXPECT_EQ(after.start, before.start);
  EXPECT_EQ(after.traffic[0].packets, 1u);

  table->tracker(0).expire(later + 31s);
  EXPECT_EQ(table->count(), 0u);
}

TEST_F(RecoveryTest, FreeNumbersAreUsedAgain) {
  for (int life = 0; life < 3; ++life) {
    const auto table = start(kStart);
    ASSERT_TRUE(table);
    for (std::uint16_t port = 1; port <= 100; ++port) {
      TestPacket packet(wire::FrameSpec{.src_port = port});
      track(*table, packet, kStart);
      ASSERT_NE(packet.ct.entry, 0u);
    }
  }
}

TEST_F(RecoveryTest, AnotherSizeIsRefusedAndTheFileLeftAlone) {
  ASSERT_TRUE(start(kStart));
  EXPECT_FALSE(start(kStart, 200));
  EXPECT_EQ(error_.code, EINVAL);
  EXPECT_TRUE(start(kStart));
}

TEST_F(RecoveryTest, AForeignFileIsRefused) {
  ASSERT_TRUE(start(kStart));
  ASSERT_EQ(pwrite(fd_, "something", 9, 0), 9);
  EXPECT_FALSE(start(kStart));
}

}  // namespace
}  // namespace weir::conntrack
