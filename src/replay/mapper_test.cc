#include "replay/mapper.h"

#include <gtest/gtest.h>

#include <cstring>

#include "nat/nat.h"
#include "packet/checksum.h"
#include "packet/pool.h"
#include "pipeline/header_check.h"
#include "replay/packet_ends.h"
#include "replay/packet_text.h"
#include "wire/build.h"
#include "wire/icmp.h"
#include "wire/protocol.h"

namespace weir::replay {
namespace {

using conntrack::Confirmed;
using wire::FrameSpec;

constexpr Time kNow{std::chrono::hours(1)};
constexpr const char* kClient = "192.168.77.10";
constexpr const char* kServer = "203.0.113.9";

/// A table with one connection, masqueraded to 192.0.2.1 port 4321 or not.
class MapperTest : public ::testing::Test {
 protected:
  void SetUp() override {
    table_ = std::move(*conntrack::Table::create({.max = 1024}, kNow));
    nat_ = std::move(*nat::Nat::create(*table_, HashKey{}));
    table_->tracker(0).online();
    mapper_ = std::make_unique<Mapper>(*table_, table_->epochs(), table_->control_participant(0));
  }
  void TearDown() override { table_->tracker(0).offline(); }

  packet::Packet& packet_of(const wire::ByteVector& frame) {
    packet::Packet* const packet = pool_.take(static_cast<std::uint32_t>(frame.size()));
    packet->length = static_cast<std::uint32_t>(frame.size());
    std::memcpy(packet->frame(), frame.data(), frame.size());
    EXPECT_EQ(pipeline::check_headers(*packet), pipeline::HeaderVerdict::ok);
    return *packet;
  }
  packet::Packet& packet_of(const FrameSpec& spec) { return packet_of(wire::build_frame(spec)); }

  void begin(const FrameSpec& spec, bool is_masqueraded = true) {
    conntrack::Tracker& tracker = table_->tracker(0);
    packet::Packet& packet = packet_of(spec);
    packet::Batch batch, later;
    batch.now = kNow;
    batch.add(&packet);
    tracker.track(batch, later);
    if (is_masqueraded) {
      nat::Range range = nat::Range::to(wire::parse_address("192.0.2.1")->address);
      range.flags |= nat::Range::kPortsSpecified;
      range.min_port = range.max_port = 4321;
      ASSERT_TRUE(nat_->setup(tracker, packet, nat::Manip::src, range, kNow));
    }
    ASSERT_EQ(tracker.confirm(packet, kNow), Confirmed::done);
  }

  packet::Pool pool_{64, 2};
  std::unique_ptr<conntrack::Table> table_;
  std::unique_ptr<nat::Nat> nat_;
  std::unique_ptr<Mapper> mapper_;
};

FrameSpec question() {
  return {.src = kClient,
          .dst = kServer,
          .src_port = 5000,
          .dst_port = 53,
          .payload = wire::pattern(20)};
}
FrameSpec answer() {
  return {.src = kServer,
          .dst = kClient,
          .src_port = 53,
          .dst_port = 5000,
          .payload = wire::pattern(20)};
}

TEST_F(MapperTest, AnAnswerGoesToTheTranslatedTuple) {
  begin(question());
  packet::Packet& packet = packet_of(answer());
  EXPECT_TRUE(mapper_->map(packet, kNow));
  EXPECT_EQ(ends_text(packet), "203.0.113.9:53 > 192.0.2.1:4321");
  EXPECT_TRUE(packet::verify_checksum(packet));
  EXPECT_EQ(pipeline::check_headers(packet), pipeline::HeaderVerdict::ok);
}

TEST_F(MapperTest, OtherPacketsAreLeftAlone) {
  begin(question());
  EXPECT_FALSE(mapper_->map(packet_of(question()), kNow));  // The connection's own direction.
  FrameSpec stranger = answer();
  stranger.dst_port = 5001;
  EXPECT_FALSE(mapper_->map(packet_of(stranger), kNow));
  EXPECT_FALSE(
      mapper_->map(packet_of(answer()), kNow + std::chrono::minutes(1)));  // It is over by then.
}

TEST_F(MapperTest, WithoutTranslationThereIsNothingToMap) {
  begin(question(), false);
  EXPECT_FALSE(mapper_->map(packet_of(answer()), kNow));
}

TEST_F(MapperTest, EchoRepliesAreKnownByTheirId) {
  FrameSpec ping{
      .src = kClient, .dst = kServer, .protocol = wire::protocol::kIcmp, .icmp_rest = 7 << 16};
  begin(ping);
  FrameSpec pong{.src = kServer,
                 .dst = kClient,
                 .protocol = wire::protocol::kIcmp,
                 .icmp_type = 0,
                 .icmp_rest = 7 << 16};
  packet::Packet& packet = packet_of(pong);
  EXPECT_TRUE(mapper_->map(packet, kNow));
  EXPECT_EQ(ends_text(packet), "203.0.113.9 > 192.0.2.1 id 4321");
  EXPECT_TRUE(packet::verify_checksum(packet));
}

TEST_F(MapperTest, AnErrorQuotesTheTranslatedPacket) {
  begin(question());
  const wire::ByteVector sent = wire::build_frame(question());
  FrameSpec error{.src = "203.0.113.254", .dst = kClient, .protocol = wire::protocol::kIcmp};
  error.icmp_type = wire::icmp::kUnreachable;
  error.payload = wire::ByteVector(sent.begin() + 14, sent.end());
  packet::Packet& packet = packet_of(error);
  EXPECT_TRUE(mapper_->map(packet, kNow));
  EXPECT_EQ(ends_text(packet), "203.0.113.254 > 192.0.2.1");
  EXPECT_TRUE(packet::verify_checksum(packet));
  const Bytes quote = std::as_const(packet).l4().subspan(8);
  EXPECT_EQ(wire::to_string(wire::at<wire::Ipv4>(quote.data()).src_address(), wire::Family::ip),
            "192.0.2.1");
  EXPECT_EQ(load<Be16>(quote.data() + 20).host(), 4321);
}

TEST_F(MapperTest, LaterPiecesGoWithTheFirst) {
  begin(question());
  const auto piece = [&](std::uint16_t field) {
    wire::ByteVector frame = wire::build_frame(answer());
    auto& ip = wire::at<wire::Ipv4>(frame.data() + 14);
    ip.set_fragment_field(field);
    ip.fill_checksum();
    return frame;
  };
  EXPECT_FALSE(mapper_->map(packet_of(piece(3)), kNow));  // Nobody knows yet whose it is.
  EXPECT_TRUE(mapper_->map(packet_of(piece(wire::Ipv4::kMoreFragments)), kNow));
  packet::Packet& later = packet_of(piece(3));
  EXPECT_TRUE(mapper_->map(later, kNow));
  EXPECT_EQ(wire::to_string(destination_of(later), wire::Family::ip), "192.0.2.1");
  EXPECT_EQ(pipeline::check_headers(later), pipeline::HeaderVerdict::ok);
}

}  // namespace
}  // namespace weir::replay
