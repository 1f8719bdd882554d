#include "nat/payload.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cstring>
#include <string>

#include "nat/sequence.h"
#include "packet/checksum.h"
#include "packet/pool.h"
#include "packet/segment.h"
#include "wire/build.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/protocol.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace weir::nat {
namespace {

using packet::Checksum;
using packet::Packet;

/// A packet in a pool's buffer, as it comes from a port.
class PayloadTest : public testing::Test {
 protected:
  ~PayloadTest() override {
    if (packet_ != nullptr) pool_.release(packet_);
  }

  void make(const wire::FrameSpec& spec, std::size_t padding = 0) {
    wire::ByteVector frame = wire::build_frame(spec);
    frame.resize(frame.size() + padding);
    if (packet_ != nullptr) pool_.release(packet_);
    packet_ = pool_.take(static_cast<std::uint32_t>(frame.size()));
    std::memcpy(packet_->frame(), frame.data(), frame.size());
    packet_->length = static_cast<std::uint32_t>(frame.size());
    packet_->l3_offset = 14;
    packet_->ip_length = static_cast<std::uint32_t>(frame.size() - 14 - padding);
    const bool is_ip = frame[14] >> 4 == 4;
    packet_->family = is_ip ? wire::Family::ip : wire::Family::ip6;
    packet_->l4_offset = is_ip ? 34 : 54;
    packet_->l4_protocol = spec.protocol;
  }
  void make_partial() {
    packet_->checksum = Checksum::partial;
    packet_->csum_start = packet_->l4_offset;
    packet_->csum_offset = packet_->l4_protocol == wire::protocol::kTcp ? 16 : 6;
    store(
        packet_->frame() + packet_->csum_start + packet_->csum_offset,
        wire::fold(wire::pseudo_header(packet_->family, packet_->frame() + 14, packet_->l4_protocol,
                                       static_cast<std::uint32_t>(packet_->l4().size()))));
  }

  std::string payload() {
    const MutableBytes bytes = payload_of(*packet_);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  bool put(std::size_t offset, std::size_t length, std::string_view text) {
    return replace(*packet_, offset, length,
                   {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  }
  /// Lengths and checksums agree with the bytes.
  void expect_sound() {
    const std::uint8_t* const l3 = packet_->frame() + 14;
    EXPECT_EQ(packet_->length, packet_->l3_offset + packet_->ip_length);
    if (packet_->family == wire::Family::ip) {
      EXPECT_EQ(load<Be16>(l3 + 2).host(), packet_->ip_length);
      EXPECT_EQ(wire::finish(wire::sum(Bytes(l3, 20))).raw, 0);
    } else {
      EXPECT_EQ(load<Be16>(l3 + 4).host(), packet_->ip_length - 40);
    }
    Packet& packet = *packet_;
    ASSERT_TRUE(packet::finish_checksum(packet));
    packet.checksum = Checksum::unknown;
    EXPECT_TRUE(packet::verify_checksum(packet));
  }

  packet::Pool pool_{8, 4};
  Packet* packet_ = nullptr;
};

wire::FrameSpec tcp(std::string_view payload) {
  return {.protocol = wire::protocol::kTcp,
          .has_df = true,
          .tcp_flags = wire::Tcp::kAck,
          .payload = {payload.begin(), payload.end()}};
}
wire::FrameSpec udp(std::string_view payload) {
  return {.payload = {payload.begin(), payload.end()}};
}

TEST_F(PayloadTest, GrowsAndShrinks) {
  make(tcp("PORT 10,0,0,2,195,80\r\nRETR x\r\n"));
  ASSERT_TRUE(put(5, 15, "203,0,113,1,195,80"));
  EXPECT_EQ(payload(), "PORT 203,0,113,1,195,80\r\nRETR x\r\n");
  expect_sound();
  ASSERT_TRUE(put(5, 18, "1,1,1,1,1,1"));
  EXPECT_EQ(payload(), "PORT 1,1,1,1,1,1\r\nRETR x\r\n");
  expect_sound();
}

TEST_F(PayloadTest, KnowsUdpAndIp6) {
  make(udp("abc"));
  ASSERT_TRUE(put(1, 1, "longer"));
  EXPECT_EQ(payload(), "alongerc");
  EXPECT_EQ(load<Be16>(&packet_->l4()[4]).host(), 16);
  expect_sound();

  wire::FrameSpec spec = tcp("abc");
  spec.src = "2001:db8::1";
  spec.dst = "2001:db8::2";
  make(spec);
  ASSERT_TRUE(put(0, 3, "sixteen letters."));
  expect_sound();
}

TEST_F(PayloadTest, AnUnfinishedChecksumStaysUnfinished) {
  make(tcp("abc"));
  make_partial();
  ASSERT_TRUE(put(0, 1, "0123456789"));
  EXPECT_EQ(packet_->checksum, Checksum::partial);
  expect_sound();
}

TEST_F(PayloadTest, AUdpChecksumOfNoneStaysNone) {
  make(udp("abc"));
  store(&packet_->l4()[6], Be16{0});
  ASSERT_TRUE(put(0, 1, "xy"));
  EXPECT_EQ(load<Be16>(&packet_->l4()[6]).raw, 0);
}

TEST_F(PayloadTest, PaddingGoes) {
  make(tcp("a"), 5);
  ASSERT_TRUE(put(0, 1, "bc"));
  EXPECT_EQ(payload(), "bc");
  expect_sound();
}

TEST_F(PayloadTest, GrowsIntoTheHeadroomWhenTheTailIsFull) {
  make(tcp("abc"));
  packet_->capacity_bytes = packet_->start + packet_->length;
  const std::uint32_t start = packet_->start;
  ASSERT_TRUE(put(1, 1, std::string(start, 'x')));
  EXPECT_EQ(payload(), "a" + std::string(start, 'x') + "c");
  EXPECT_EQ(packet_->start, 1u);
  expect_sound();
  EXPECT_FALSE(put(1, 1, "four"));
}

TEST_F(PayloadTest, RefusesWhatIsOutside) {
  make(tcp("abc"));
  const std::string before = payload();
  EXPECT_FALSE(put(4, 0, "x"));
  EXPECT_FALSE(put(2, 2, "x"));
  EXPECT_FALSE(put(0, 0, std::string(65536, 'x')));
  EXPECT_EQ(payload(), before);
  packet_->is_later_fragment = true;
  EXPECT_FALSE(put(0, 1, "x"));
}

TEST_F(PayloadTest, APacketThatOutgrowsItsWayBecomesSegments) {
  make(tcp(std::string(1460, 'a')));
  packet_->path_mtu = 1500;
  ASSERT_TRUE(put(0, 1, "PORT"));
  EXPECT_EQ(packet_->gso.type, packet::Gso::Type::tcp4);
  std::vector<std::string> parts;
  std::uint32_t sequence = 0;
  packet::segment(*packet_, pool_, [&](Packet* part) {
    EXPECT_LE(part->ip_length, 1500u);
    EXPECT_TRUE(packet::verify_checksum(*part));
    if (parts.empty()) sequence = wire::at<wire::Tcp>(part->l4().data()).sequence();
    const MutableBytes bytes = payload_of(*part);
    parts.emplace_back(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (parts.size() == 2) {
      EXPECT_EQ(wire::at<wire::Tcp>(part->l4().data()).sequence(), sequence + 1460);
    }
    pool_.release(part);
  });
  ASSERT_EQ(parts.size(), 2u);
  EXPECT_EQ(parts[0] + parts[1], "PORT" + std::string(1459, 'a'));
}

TEST_F(PayloadTest, AWholeGsoSegmentGrows) {
  make(tcp(std::string(60000, 'a')));
  make_partial();
  packet_->gso = {.type = packet::Gso::Type::tcp4, .segment_bytes = 1460};
  packet_->path_mtu = 1500;
  ASSERT_TRUE(put(30000, 2, "xyz"));
  EXPECT_EQ(packet_->gso.segment_bytes, 1460);
  EXPECT_EQ(payload().size(), 60001u);
  expect_sound();
}

TEST_F(PayloadTest, AnyPlaceInAnyPayload) {
  rc::check([&] {
    const std::string text = *rc::gen::container<std::string>(rc::gen::inRange('a', 'z'));
    const std::size_t offset = *rc::gen::inRange<std::size_t>(0, text.size() + 1);
    const std::size_t length = *rc::gen::inRange<std::size_t>(0, text.size() - offset + 1);
    const std::string other = *rc::gen::container<std::string>(rc::gen::inRange('A', 'Z'));
    make(*rc::gen::arbitrary<bool>() ? tcp(text) : udp(text));
    if (*rc::gen::arbitrary<bool>()) make_partial();
    RC_ASSERT(put(offset, length, other));
    std::string expected = text;
    expected.replace(offset, length, other);
    RC_ASSERT(payload() == expected);
    expect_sound();
  });
}

// Sequence numbers.

class SequenceTest : public PayloadTest {
 protected:
  void make_ack(const wire::ByteVector& options, bool is_reply) {
    wire::FrameSpec spec = tcp("x");
    spec.sequence = 5000;
    spec.acknowledgment = 1123;
    spec.tcp_options = options;
    make(spec);
    packet_->ct.info = is_reply ? packet::CtInfo::established_reply : packet::CtInfo::established;
  }
  const wire::Tcp& header() { return wire::at<wire::Tcp>(packet_->l4().data()); }
};

wire::ByteVector sack(std::uint32_t left, std::uint32_t right, std::size_t nops) {
  wire::ByteVector options(nops, 1);
  options.insert(options.end(), {5, 10});
  for (const std::uint32_t number : {left, right}) {
    const Be32 value = Be32::from_host(number);
    const Bytes bytes = as_bytes(value);
    options.insert(options.end(), bytes.begin(), bytes.end());
  }
  while (options.size() % 4 != 0) options.push_back(1);
  return options;
}

TEST_F(SequenceTest, OfTheOwnDirectionAndTheAcknowledgedOne) {
  std::array<conntrack::SequenceAdjustment, 2> adjustments;
  adjustments[0].add(1000, 20, 3);
  adjustments[1].add(4000, 10, -2);
  make_ack({}, true);
  ASSERT_TRUE(adjust_sequence(*packet_, adjustments));
  EXPECT_EQ(header().sequence(), 4998u);
  EXPECT_EQ(header().acknowledgment(), 1120u);
  expect_sound();
}

TEST_F(SequenceTest, SackBlocksWhereverTheyLie) {
  for (const std::size_t nops : {0u, 1u, 2u, 3u}) {
    std::array<conntrack::SequenceAdjustment, 2> adjustments;
    adjustments[0].add(1000, 20, 3);
    make_ack(sack(2003, 3003, nops), true);
    ASSERT_TRUE(adjust_sequence(*packet_, adjustments));
    const wire::TcpOptions options = wire::parse_tcp_options(wire::tcp_options(packet_->l4()));
    ASSERT_EQ(options.sack_count, 1);
    EXPECT_EQ(options.sack[0].left, 2000u);
    EXPECT_EQ(options.sack[0].right, 3000u);
    expect_sound();
  }
}

TEST_F(SequenceTest, MalformedOptionsAreLeftAlone) {
  std::array<conntrack::SequenceAdjustment, 2> adjustments;
  adjustments[0].add(1000, 20, 3);
  for (const wire::ByteVector& options :
       {wire::ByteVector{5, 10, 0, 0}, wire::ByteVector{5, 0, 0, 0}, wire::ByteVector{1, 1, 1, 5},
        wire::ByteVector{5, 3, 0, 0}}) {
    make_ack(options, true);
    ASSERT_TRUE(adjust_sequence(*packet_, adjustments));
    const Bytes kept = wire::tcp_options(packet_->l4());
    EXPECT_TRUE(std::equal(kept.begin(), kept.end(), options.begin()));
    expect_sound();
  }
}

}  // namespace
}  // namespace weir::nat
