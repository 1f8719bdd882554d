// What a flood of several times the table's size does to the connections that matter: nothing.

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "conntrack/control.h"
#include "conntrack/test_packet.h"
#include "conntrack/tracker.h"
#include "wire/tcp.h"

namespace weir::conntrack {
namespace {

using namespace std::chrono_literals;
using packet::Drop;
using wire::Tcp;

constexpr std::uint32_t kMax = 500;
constexpr std::uint32_t kAssured = 100;  // Of TCP, and as many of UDP.
constexpr std::uint32_t kFlood = 10 * kMax;

class PressureTest : public testing::Test {
 protected:
  void SetUp() override {
    table_ = std::move(*Table::create({.max = kMax}, now_));
    tracker_ = &table_->tracker(0);
    tracker_->online();
  }

  /// One packet through tracking; its connection is published.
  packet::Packet& pass(TestPacket& packet) {
    packet.again();
    packet::Batch batch = batch_of(now_, {&packet});
    packet::Batch later;
    tracker_->track(batch, later);
    if (packet.drop == Drop::none) {
      EXPECT_EQ(tracker_->confirm(packet, now_), Confirmed::done);
    }
    tracker_->expire(now_);
    tracker_->quiet();
    return packet;
  }

  wire::FrameSpec client(std::uint8_t protocol, std::uint16_t port) const {
    return {.protocol = protocol, .src_port = port, .dst_port = 80};
  }
  static wire::FrameSpec server(const wire::FrameSpec& client) {
    wire::FrameSpec spec = client;
    spec.src = client.dst;
    spec.dst = client.src;
    spec.src_port = client.dst_port;
    spec.dst_port = client.src_port;
    return spec;
  }

  TestPacket tcp(wire::FrameSpec spec, std::uint8_t flags, std::uint32_t seq, std::uint32_t ack) {
    spec.tcp_flags = flags;
    spec.sequence = seq;
    spec.acknowledgment = ack;
    return TestPacket(spec);
  }
  /// Returns the entry's number.
  std::uint32_t open_tcp(std::uint16_t port) {
    const wire::FrameSpec spec = client(wire::protocol::kTcp, port);
    TestPacket syn = tcp(spec, Tcp::kSyn, 1000, 0);
    TestPacket syn_ack = tcp(server(spec), Tcp::kSyn | Tcp::kAck, 5000, 1001);
    TestPacket ack = tcp(spec, Tcp::kAck, 1001, 5001);
    pass(syn);
    pass(syn_ack);
    return pass(ack).ct.entry;
  }
  void close_tcp(std::uint16_t port) {
    TestPacket fin = tcp(client(wire::protocol::kTcp, port), Tcp::kFin | Tcp::kAck, 1001, 5001);
    pass(fin);
  }
  std::uint32_t open_udp(std::uint16_t port) {
    const wire::FrameSpec spec = client(wire::protocol::kUdp, port);
    TestPacket request(spec);
    TestPacket answer(server(spec));
    pass(request);
    pass(answer);
    now_ += 2100ms;  // A stream is assured once it lasts.
    return pass(request).ct.entry;
  }

  void flood(std::uint8_t protocol, std::uint16_t first_port, std::uint32_t count) {
    for (std::uint32_t i = 0; i < count; ++i) {
      TestPacket packet(client(protocol, static_cast<std::uint16_t>(first_port + i)));
      pass(packet);
      if (i % 100 == 0) now_ += 1ms;
    }
  }
  bool is_alive(std::uint32_t number) { return table_->snapshot(number, now_).has_value(); }

  Time now_ = Time(1000s);
  std::unique_ptr<Table> table_;
  Tracker* tracker_ = nullptr;
};

TEST_F(PressureTest, AFloodLeavesAssuredConnectionsAlone) {
  std::vector<std::uint32_t> assured;
  for (std::uint16_t i = 0; i < kAssured / 10; ++i) assured.push_back(open_udp(i + 1));
  for (std::uint16_t i = 0; i < kAssured; ++i) assured.push_back(open_tcp(i + 1));
  const std::uint32_t quiet = table_->count();

  flood(wire::protocol::kTcp, 10000, kFlood);
  flood(wire::protocol::kUdp, 10000, kFlood);

  for (const std::uint32_t number : assured) EXPECT_TRUE(is_alive(number)) << number;
  EXPECT_EQ(table_->count(), kMax);
  const StatisticsSnapshot counts = table_->statistics(0);
  // Those that have become assured since they were hung are met at the wheel's head once, sixteen
  // at a time at most; a packet that meets sixteen of them is refused.
  EXPECT_LE(counts.refused, quiet / 16);
  EXPECT_EQ(counts.early_drop, 2 * kFlood - (kMax - quiet) - counts.refused);
}

TEST_F(PressureTest, ClosingConnectionsMakeRoomThoughTheyWereAssured) {
  std::vector<std::uint32_t> closing;
  std::vector<std::uint32_t> open;
  for (std::uint16_t i = 0; i < kMax / 2; ++i) closing.push_back(open_tcp(i + 1));
  for (std::uint16_t i = 0; i < kMax / 2; ++i) open.push_back(open_tcp(i + 20000));
  for (std::uint16_t i = 0; i < kMax / 2; ++i) close_tcp(i + 1);
  ASSERT_EQ(table_->count(), kMax);

  // As many as are closing get in; unassured themselves, they then replace each other.
  flood(wire::protocol::kUdp, 10000, kMax);
  for (const std::uint32_t number : open) EXPECT_TRUE(is_alive(number)) << number;
  EXPECT_EQ(table_->statistics(0).refused, 0u);
  EXPECT_EQ(table_->statistics(0).early_drop, kMax);
}

TEST_F(PressureTest, ATableOfOpenConnectionsRefusesAndCounts) {
  for (std::uint16_t i = 0; i < kMax; ++i) open_tcp(i + 1);
  TestPacket late(client(wire::protocol::kUdp, 9));
  EXPECT_EQ(pass(late).drop, Drop::conntrack_table_full);
  EXPECT_EQ(table_->statistics(0).refused, 1u);
  EXPECT_EQ(table_->statistics(0).early_drop, 0u);
  EXPECT_EQ(table_->count(), kMax);
}

TEST_F(PressureTest, TheBoundIsLive) {
  flood(wire::protocol::kUdp, 10000, kMax);
  ASSERT_TRUE(set_sysctl(table_->sysctl(), *find_sysctl("max"), "100"));
  flood(wire::protocol::kUdp, 20000, 1);
  EXPECT_EQ(table_->count(), kMax);  // One goes for one that comes.
  now_ += 31s;
  tracker_->expire(now_, kMax);
  tracker_->quiet();
  flood(wire::protocol::kUdp, 30000, 200);
  EXPECT_EQ(table_->count(), 100u);
}

}  // namespace
}  // namespace weir::conntrack
