#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <random>
#include <vector>

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

  /// Published by an engine that is gone.
  void begin_connections(std::uint16_t count) {
    const auto table = start(kStart);
    for (std::uint16_t port = 1; port <= count; ++port) {
      TestPacket packet(wire::FrameSpec{.src_port = port});
      track(*table, packet, kStart);
      table->tracker(0).confirm(packet, kStart);
    }
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

TEST_F(RecoveryTest, AnotherSizeKeepsWhatIsThere) {
  {
    const auto table = start(kStart);
    track(*table, request_, kStart);
    table->tracker(0).confirm(request_, kStart);
  }
  for (const std::uint32_t max : {200u, 10u, 1000u}) {
    const auto table = start(kStart, max);
    ASSERT_TRUE(table) << error_.text;
    EXPECT_EQ(table->count(), 1u);
    EXPECT_EQ(table->max(), max);
  }
}

TEST_F(RecoveryTest, RecoveryCanWaitForTheOtherEngine) {
  const auto before = start(kStart);
  auto after = Table::create({.max = 100, .arena_fd = fd_, .recovers_later = true}, kStart);
  ASSERT_TRUE(after);
  track(*before, request_, kStart);
  before->tracker(0).confirm(request_, kStart);
  EXPECT_EQ((*after)->count(), 0u);
  (*after)->recover(kStart);
  EXPECT_EQ((*after)->recovery().kept, 1u);
  (*after)->tracker(0).online();
  track(**after, answer_, kStart);
  EXPECT_EQ(answer_.ct.info, packet::CtInfo::established_reply);
}

TEST_F(RecoveryTest, EntriesThatMakeNoSenseAreDropped) {
  begin_connections(50);
  constexpr std::size_t kBytes = 4096 + 50 * sizeof(Entry);
  void* const at = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  ASSERT_NE(at, MAP_FAILED);
  auto* const entries = reinterpret_cast<Entry*>(static_cast<std::uint8_t*>(at) + 4096) - 1;
  entries[1].original.family = static_cast<wire::Family>(77);
  entries[2].hot.deadline = Time::max();
  entries[3].hot.status = 0;
  entries[5].original = entries[4].original;  // Two with one tuple.
  munmap(at, kBytes);
  const auto table = start(kStart);
  ASSERT_TRUE(table) << error_.text;
  EXPECT_EQ(table->recovery().kept, 46u);
  EXPECT_EQ(table->recovery().dropped, 4u);
}

TEST_F(RecoveryTest, NoDamageIsTooMuch) {
  begin_connections(20);
  std::vector<std::uint8_t> whole(4096 + 64 * sizeof(Entry));
  ASSERT_EQ(pread(fd_, whole.data(), whole.size(), 0), static_cast<ssize_t>(whole.size()));
  std::mt19937 random(1);
  for (int round = 0; round < 500; ++round) {
    auto spoiled = whole;
    // Every other round leaves the header alone, so that the entries are looked at.
    const std::size_t from = round % 2 == 0 ? 0 : 4096;
    for (unsigned flips = 1 + random() % 200; flips > 0; --flips) {
      spoiled[from + random() % (spoiled.size() - from)] ^=
          static_cast<std::uint8_t>(1u << random() % 8);
    }
    const std::size_t length = round % 3 == 0 ? random() % spoiled.size() : spoiled.size();
    ASSERT_EQ(ftruncate(fd_, 0), 0);
    ASSERT_EQ(pwrite(fd_, spoiled.data(), length, 0), static_cast<ssize_t>(length));
    const auto table = start(kStart);
    if (!table) continue;
    EXPECT_LE(table->count(), 20u);
    // What is left can be used, and used up.
    track(*table, request_, kStart);
    table->tracker(0).confirm(request_, kStart);
    track(*table, answer_, kStart);
    while (table->tracker(0).expire(kStart + 24h * 365 * 150) > 0) {
    }
    EXPECT_EQ(table->count(), 0u);
  }
}

TEST_F(RecoveryTest, AForeignFileIsRefused) {
  ASSERT_TRUE(start(kStart));
  ASSERT_EQ(pwrite(fd_, "something", 9, 0), 9);
  EXPECT_FALSE(start(kStart));
}

}  // namespace
}  // namespace weir::conntrack
