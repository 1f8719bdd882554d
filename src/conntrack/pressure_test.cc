// What a flood of several times the table's size does to the connections that matter: nothing.

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "conntrack/control.h"
#include "conntrack/test_packet.h"
#include "conntrack/tracker.h"
#include "fragments/reassembly.h"
#include "packet/pool.h"
#include "wire/ipv4.h"
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
    table_ = std::move(*Table::create({.max = kMax, .workers = 2}, now_));
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
  /// The first or the last piece of datagram number `i`.
  static packet::Packet* fragment(packet::Pool& pool, std::uint32_t i, bool is_last) {
    constexpr std::size_t kHeaders = 14 + 20;
    constexpr std::size_t kFirst = 24;  // Bytes of the datagram in the first piece.
    wire::ByteVector frame = wire::build_frame({.src_port = static_cast<std::uint16_t>(i),
                                                .dst_port = static_cast<std::uint16_t>(i >> 16),
                                                .ip_id = static_cast<std::uint16_t>(i),
                                                .payload = wire::pattern(32)});
    if (is_last) {
      frame.erase(frame.begin() + kHeaders, frame.begin() + kHeaders + kFirst);
    } else {
      frame.resize(kHeaders + kFirst);
    }
    auto& ip = wire::at<wire::Ipv4>(&frame[14]);
    ip.set_fragment_field(is_last ? kFirst / 8 : wire::Ipv4::kMoreFragments);
    ip.set_total_bytes(static_cast<std::uint16_t>(frame.size() - 14));

    packet::Packet* const piece = pool.take(static_cast<std::uint32_t>(frame.size()));
    if (piece == nullptr) return nullptr;
    piece->length = static_cast<std::uint32_t>(frame.size());
    std::copy(frame.begin(), frame.end(), piece->frame());
    piece->family = wire::Family::ip;
    piece->l3_offset = 14;
    piece->l4_offset = kHeaders;
    piece->l4_protocol = wire::protocol::kUdp;
    piece->ip_length = static_cast<std::uint16_t>(frame.size() - 14);
    piece->is_fragment = true;
    return piece;
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

/// The flood comes by the other worker, which owns none of the entries that are there.
TEST_F(PressureTest, AFloodByAnotherWorkerLeavesAssuredConnectionsAlone) {
  std::vector<std::uint32_t> assured;
  for (std::uint16_t i = 0; i < kAssured; ++i) assured.push_back(open_tcp(i + 1));
  flood(wire::protocol::kUdp, 10000, kMax - kAssured);  // The first worker's share: all.
  ASSERT_EQ(table_->count(), kMax);

  Tracker* const first = tracker_;
  tracker_ = &table_->tracker(1);
  tracker_->online();
  std::uint32_t refused = 0;
  for (std::uint32_t i = 0; i < kFlood; ++i) {
    TestPacket packet(client(wire::protocol::kUdp, static_cast<std::uint16_t>(20000 + i)));
    if (pass(packet).drop == Drop::conntrack_table_full) ++refused;
    // The worker that has the others' entries takes its turn, as it was asked to.
    first->expire(now_);
    first->quiet();
  }

  for (const std::uint32_t number : assured) EXPECT_TRUE(is_alive(number)) << number;
  EXPECT_LE(table_->count(), kMax);
  EXPECT_GT(table_->statistics(0).early_drop, 0u) << "asked by the other worker";
  EXPECT_GT(table_->statistics(1).early_drop, 0u) << "its own, once it has some";
  EXPECT_LT(refused, kMax) << "most of the flood gets in, and goes again";
}

/// Pieces of datagrams that never become whole reach no tracker; whole ones that came in pieces are
/// packets like others.
TEST_F(PressureTest, AFloodOfFragmentsLeavesAssuredConnectionsAlone) {
  std::vector<std::uint32_t> assured;
  for (std::uint16_t i = 0; i < kAssured; ++i) assured.push_back(open_tcp(i + 1));
  fragments::Reassembly reassembly({}, HashKey{1, 2});
  packet::Pool pool(64, 8);
  std::uint32_t whole = 0;
  for (std::uint32_t i = 0; i < kFlood; ++i) {
    for (const bool is_last : {false, true}) {
      if (is_last && i % 2 == 0) continue;  // Half of them stay incomplete.
      packet::Packet* const piece = fragment(pool, i, is_last);
      ASSERT_NE(piece, nullptr);
      Drop why = Drop::none;
      packet::Packet* const datagram = reassembly.gather(piece, 0, now_, pool, why);
      if (datagram == nullptr) continue;
      ++whole;
      packet::Batch batch = batch_of(now_, {datagram});
      packet::Batch later;
      tracker_->track(batch, later);
      if (datagram->drop == Drop::none) {
        EXPECT_EQ(tracker_->confirm(*datagram, now_), Confirmed::done);
      }
      pool.release(datagram);
      tracker_->expire(now_);
      tracker_->quiet();
    }
  }
  EXPECT_EQ(whole, kFlood / 2);
  for (const std::uint32_t number : assured) EXPECT_TRUE(is_alive(number)) << number;
  EXPECT_EQ(table_->count(), kMax);
  EXPECT_LE(reassembly.counters().memory_used_bytes, fragments::Limits{}.memory_bytes);
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
