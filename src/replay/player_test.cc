#include "replay/player.h"

#include <gtest/gtest.h>

#include "io/memory_port.h"
#include "wire/build.h"
#include "wire/ethernet.h"
#include "wire/protocol.h"
#include "wire/tcp.h"

namespace weir::replay {
namespace {

using namespace std::chrono_literals;

constexpr Duration kEpoch = 1'700'000'000s;

/// A capture in memory, and the player that plays it. Without rules everything passes.
class PlayerTest : public ::testing::Test, public StoryTeller {
 protected:
  void SetUp() override { make({}); }

  void make(Options options) {
    options.explain = true;
    auto player = Player::create(options);
    ASSERT_TRUE(player) << player.error().text;
    player_ = std::move(*player);
  }
  void add(Duration at, const wire::FrameSpec& spec) { add_frame(at, wire::build_frame(spec)); }
  void add_frame(Duration at, const wire::ByteVector& frame) {
    ASSERT_TRUE(source_.put_frame(frame, frames_, Time(kEpoch + at)));
  }
  void play() { player_->play(source_, nullptr, this); }

  void tell(const PacketStory& story) override {
    sides_.push_back(story.side);
    verdicts_.push_back(story.seen->verdict);
    cts_.push_back(story.seen->ct);
    ends_.push_back(story.ends);
    for (const Sent& sent : story.seen->sent) sent_.push_back(sent);
  }

  packet::Pool frames_{256, 8};
  io::MemoryQueue source_{{.room = 256}};
  std::unique_ptr<Player> player_;
  std::vector<Side> sides_;
  std::vector<Verdict> verdicts_;
  std::vector<packet::CtRef> cts_;
  std::vector<std::string> ends_;
  std::vector<Sent> sent_;
};

const wire::FrameSpec kQuestion{
    .src = "192.168.77.10", .dst = "203.0.113.9", .src_port = 5000, .dst_port = 53};
const wire::FrameSpec kAnswer{
    .src = "203.0.113.9", .dst = "192.168.77.10", .src_port = 53, .dst_port = 5000};

TEST_F(PlayerTest, AFlowHasBothDirectionsItsStartAndDuration) {
  add(0s, kQuestion);
  add(1500ms, kAnswer);
  play();
  EXPECT_EQ(sides_, (std::vector{Side::inside, Side::outside}));
  const std::vector<Flow> flows = player_->flows();
  ASSERT_EQ(flows.size(), 1U);
  EXPECT_EQ(flows[0].connection.traffic[0].packets, 1U);
  EXPECT_EQ(flows[0].connection.traffic[1].packets, 1U);
  EXPECT_EQ(flows[0].connection.start, kEpoch);
  EXPECT_EQ(flows[0].last_seen, kEpoch + 1500ms);
  EXPECT_FALSE(flows[0].is_over);
  EXPECT_EQ(player_->totals().forwarded, 2U);
}

TEST_F(PlayerTest, TimersFireOnTheCapturesClock) {
  add(0s, kQuestion);
  add(29s, kQuestion);  // In time: the same flow,
  add(60s, kQuestion);  // too late: the next.
  add(4000s, kAnswer);  // A third; the second ended 30 s after its packet.
  play();
  const std::vector<Flow> flows = player_->flows();
  ASSERT_EQ(flows.size(), 3U);
  EXPECT_EQ(flows[0].connection.traffic[0].packets, 2U);
  EXPECT_TRUE(flows[0].is_over);
  EXPECT_NEAR(static_cast<double>((flows[0].connection.stop - kEpoch).count()) / 1e9, 59.0, 0.5);
  EXPECT_NEAR(static_cast<double>((flows[1].connection.stop - kEpoch).count()) / 1e9, 90.0, 0.5);
  EXPECT_FALSE(flows[2].is_over);
}

TEST_F(PlayerTest, TheClockNeverGoesBack) {
  add(100s, kQuestion);
  add(0s, kAnswer);
  add(129s, kAnswer);
  play();
  const std::vector<Flow> flows = player_->flows();
  ASSERT_EQ(flows.size(), 1U);
  EXPECT_EQ(flows[0].connection.traffic[1].packets, 2U);
}

TEST_F(PlayerTest, ExpiredFlowsAreListedThoughTheirTimerIsLazy) {
  // Picked up in the middle its timer is set to minutes, the RST shortens it to ten seconds.
  wire::FrameSpec segment{.src = "192.168.77.10",
                          .dst = "203.0.113.9",
                          .protocol = wire::protocol::kTcp,
                          .tcp_flags = wire::Tcp::kAck};
  segment.payload = wire::pattern(10);
  add(0s, segment);
  wire::FrameSpec reset{.src = "203.0.113.9",
                        .dst = "192.168.77.10",
                        .protocol = wire::protocol::kTcp,
                        .src_port = 2000,
                        .dst_port = 1000};
  reset.tcp_flags = wire::Tcp::kRst | wire::Tcp::kAck;
  reset.sequence = 0;
  reset.acknowledgment = 11;
  add(1s, reset);
  add(20s, kQuestion);
  play();
  const std::vector<Flow> flows = player_->flows();
  ASSERT_EQ(flows.size(), 2U);
  EXPECT_TRUE(flows[0].is_over);
  EXPECT_EQ(flows[0].connection.traffic[0].packets, 1U);
}

TEST_F(PlayerTest, TheGatewaysOwnAddressIsTheHosts) {
  add(0s, {.src = "203.0.113.9", .dst = "192.0.2.1"});
  play();
  EXPECT_EQ(verdicts_, std::vector{Verdict::to_host});
}

TEST_F(PlayerTest, AFrameToAllTellsABroadcastAddress) {
  wire::FrameSpec to_all{.src = "10.0.4.131", .dst = "10.0.5.255"};
  to_all.dst_mac = wire::kBroadcastMac;
  add(0s, to_all);
  play();
  EXPECT_EQ(verdicts_, std::vector{Verdict::to_host});
}

TEST_F(PlayerTest, NotIpAndMalformedAreToldApart) {
  wire::ByteVector arp(60, 0);
  arp[12] = 0x08;
  arp[13] = 0x06;
  add_frame(0s, arp);
  add_frame(0s, wire::ByteVector(20, 0x45));
  wire::ByteVector wrong = wire::build_frame(kQuestion);
  wrong[14 + 10] ^= 0x55;
  add_frame(0s, wrong);
  play();
  EXPECT_EQ(verdicts_, (std::vector{Verdict::not_ip, Verdict::not_ip, Verdict::dropped}));
  EXPECT_EQ(player_->totals().drops[static_cast<std::size_t>(packet::Drop::bad_ip_checksum)], 1U);
}

TEST_F(PlayerTest, TheGatewaySaysThatTimeIsExceeded) {
  wire::FrameSpec last_hop = kQuestion;
  last_hop.ttl = 1;
  add(0s, last_hop);
  play();
  EXPECT_EQ(verdicts_, std::vector{Verdict::dropped});
  ASSERT_EQ(sent_.size(), 1U);
  EXPECT_TRUE(sent_[0].is_own);
  EXPECT_EQ(sent_[0].side, Side::inside);
  EXPECT_EQ(player_->totals().own, 1U);
}

}  // namespace
}  // namespace weir::replay
