#include "routing/pending.h"

#include <gtest/gtest.h>

#include <vector>

namespace weir::routing {
namespace {

using namespace std::chrono_literals;

constexpr Mac kMac = {2, 0, 0, 0, 0, 9};
const Time kStart{100s};

NeighbourKey hop(std::uint8_t last) {
  return {
      .ifindex = 1, .family = wire::Family::ip, .address = wire::Address::ip(0x0a000000u + last)};
}

struct Sink : PendingSink {
  void resolved(packet::Packet* packet, const Mac& mac) override {
    sent.push_back(packet);
    EXPECT_EQ(mac, kMac);
  }
  void failed(packet::Packet* packet) override { refused.push_back(packet); }
  std::vector<packet::Packet*> sent, refused;
};

struct PendingTest : testing::Test {
  packet::Packet* make(std::uint32_t bytes = 100) {
    packets.push_back(std::make_unique<packet::Packet>());
    packets.back()->length = bytes;
    return packets.back().get();
  }
  std::vector<std::unique_ptr<packet::Packet>> packets;
  Neighbours neighbours;
  Sink sink;
};

TEST_F(PendingTest, ReleasesInOrderOnceTheNeighbourIsKnown) {
  Pending pending;
  packet::Packet* const first = make();
  packet::Packet* const second = make();
  packet::Packet* const other = make();
  EXPECT_EQ(pending.hold(hop(1), first, kStart), nullptr);
  EXPECT_EQ(pending.hold(hop(2), other, kStart), nullptr);
  EXPECT_EQ(pending.hold(hop(1), second, kStart), nullptr);
  pending.poll(neighbours, kStart + 1s, sink);
  EXPECT_TRUE(sink.sent.empty());

  neighbours.set(hop(1), NeighbourState::reachable, kMac);
  pending.poll(neighbours, kStart + 1s, sink);
  EXPECT_EQ(sink.sent, (std::vector<packet::Packet*>{first, second}));
  EXPECT_TRUE(sink.refused.empty());
  EXPECT_EQ(pending.size(), 1u);
}

TEST_F(PendingTest, FailsWhenTheKernelGivesUpOrTimePasses) {
  Pending pending;
  packet::Packet* const failed = make();
  packet::Packet* const late = make();
  EXPECT_EQ(pending.hold(hop(1), failed, kStart), nullptr);
  EXPECT_EQ(pending.hold(hop(2), late, kStart + 1s), nullptr);
  EXPECT_EQ(pending.next_deadline(), kStart + 3s);
  neighbours.set(hop(1), NeighbourState::failed, {});
  pending.poll(neighbours, kStart + 2s, sink);
  EXPECT_EQ(sink.refused, (std::vector<packet::Packet*>{failed}));
  EXPECT_EQ(pending.next_deadline(), kStart + 4s);
  pending.poll(neighbours, kStart + 4s, sink);
  EXPECT_EQ(sink.refused, (std::vector<packet::Packet*>{failed, late}));
  EXPECT_EQ(pending.next_deadline(), Time{});
}

TEST_F(PendingTest, SendsWhatWasAnsweredBeforeItWasHeld) {
  Pending pending;
  neighbours.set(hop(1), NeighbourState::reachable, kMac);
  pending.poll(neighbours, kStart, sink);
  EXPECT_EQ(pending.hold(hop(1), make(), kStart), nullptr);
  pending.poll(neighbours, kStart, sink);
  EXPECT_EQ(sink.sent.size(), 1u);
}

TEST_F(PendingTest, AFullDestinationLosesItsOldest) {
  Pending pending({.packets_a_destination = 2});
  packet::Packet* const oldest = make();
  EXPECT_EQ(pending.hold(hop(1), oldest, kStart), nullptr);
  EXPECT_EQ(pending.hold(hop(1), make(), kStart), nullptr);
  EXPECT_EQ(pending.hold(hop(1), make(), kStart), oldest);
  EXPECT_EQ(pending.size(), 2u);
}

TEST_F(PendingTest, BoundsBytesPacketsAndDestinations) {
  Pending bytes({.bytes_a_destination = 250});
  packet::Packet* const small = make(100);
  EXPECT_EQ(bytes.hold(hop(1), small, kStart), nullptr);
  EXPECT_EQ(bytes.hold(hop(1), make(100), kStart), nullptr);
  packet::Packet* const long_one = make(200);
  EXPECT_EQ(bytes.hold(hop(1), long_one, kStart), long_one)
      << "one packet doesn't make room for it";
  EXPECT_EQ(bytes.hold(hop(1), make(100), kStart), small);

  Pending packets({.packets = 1});
  EXPECT_EQ(packets.hold(hop(1), make(), kStart), nullptr);
  packet::Packet* const other = make();
  EXPECT_EQ(packets.hold(hop(2), other, kStart), other);

  Pending destinations({.destinations = 1});
  EXPECT_EQ(destinations.hold(hop(1), make(), kStart), nullptr);
  packet::Packet* const third = make();
  EXPECT_EQ(destinations.hold(hop(2), third, kStart), third);
  destinations.flush(sink);
  EXPECT_EQ(sink.refused.size(), 1u);
}

}  // namespace
}  // namespace weir::routing
