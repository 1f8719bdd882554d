#include "replay/prepare.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "packet/checksum.h"
#include "packet/pool.h"
#include "wire/build.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/protocol.h"

namespace weir::replay {
namespace {

constexpr std::uint32_t kMtu = 1500;
constexpr std::size_t kIp = 14;
constexpr std::size_t kTcpChecksum = kIp + 20 + 16;

class Prepare : public ::testing::Test {
 protected:
  packet::Packet& packet_of(const wire::ByteVector& frame) {
    packet::Packet* const packet = pool_.take(static_cast<std::uint32_t>(frame.size()));
    packet->length = static_cast<std::uint32_t>(frame.size());
    std::ranges::copy(frame, packet->frame());
    return *packet;
  }
  static wire::ByteVector tcp(std::size_t payload_bytes) {
    return wire::build_frame(
        {.protocol = wire::protocol::kTcp, .payload = wire::pattern(payload_bytes)});
  }
  static Be16 pseudo_sum(const wire::ByteVector& frame, std::uint32_t l4_bytes) {
    return wire::fold(
        wire::pseudo_header(wire::Family::ip, frame.data() + kIp, wire::protocol::kTcp, l4_bytes));
  }

  packet::Pool pool_{8, 8};
};

TEST_F(Prepare, RightPacketsAreLeftAlone) {
  const wire::ByteVector frame = tcp(100);
  packet::Packet& packet = packet_of(frame);
  const Prepared done = prepare(packet, false, kMtu);
  EXPECT_EQ(done.verdict, pipeline::HeaderVerdict::ok);
  EXPECT_FALSE(done.ip_was_repaired || done.transport_was_repaired || done.is_offloaded);
  EXPECT_EQ(std::memcmp(packet.frame(), frame.data(), frame.size()), 0);
}

TEST_F(Prepare, AnEmptyIpChecksumIsFilledInUnlessStrict) {
  wire::ByteVector frame = tcp(10);
  frame[kIp + 10] = frame[kIp + 11] = 0;
  packet::Packet& packet = packet_of(frame);
  const Prepared done = prepare(packet, false, kMtu);
  EXPECT_TRUE(done.ip_was_repaired);
  EXPECT_EQ(done.verdict, pipeline::HeaderVerdict::ok);
  EXPECT_EQ(packet.drop, packet::Drop::none);
  EXPECT_EQ(prepare(packet_of(frame), true, kMtu).verdict, pipeline::HeaderVerdict::drop);
}

TEST_F(Prepare, AWrongIpChecksumStaysWrong) {
  wire::ByteVector frame = tcp(10);
  frame[kIp + 10] ^= 0x55;
  const Prepared done = prepare(packet_of(frame), false, kMtu);
  EXPECT_FALSE(done.ip_was_repaired);
  EXPECT_EQ(done.verdict, pipeline::HeaderVerdict::drop);
}

TEST_F(Prepare, ALengthOfZeroIsSegmentationOffload) {
  wire::ByteVector frame = tcp(3000);
  for (const std::size_t at : {2, 3, 10, 11}) frame[kIp + at] = 0;
  store(&frame[kTcpChecksum], pseudo_sum(frame, 0));
  packet::Packet& packet = packet_of(frame);
  const Prepared done = prepare(packet, false, kMtu);
  EXPECT_TRUE(done.ip_was_repaired && done.transport_was_repaired && done.is_offloaded);
  EXPECT_EQ(packet.ip_length, 3040U);
  EXPECT_EQ(packet.gso.segment_bytes, 1460);
}

TEST_F(Prepare, UnfinishedTransportChecksumsAreFinishedRight) {
  for (const auto& make_unfinished :
       {+[](wire::ByteVector& frame) { store(&frame[kTcpChecksum], pseudo_sum(frame, 30)); },
        +[](wire::ByteVector& frame) { store(&frame[kTcpChecksum], Be16{}); }}) {
    const wire::ByteVector right = tcp(10);
    wire::ByteVector frame = right;
    make_unfinished(frame);
    packet::Packet& packet = packet_of(frame);
    EXPECT_TRUE(prepare(packet, false, kMtu).transport_was_repaired);
    EXPECT_EQ(packet.checksum, packet::Checksum::partial);
    ASSERT_TRUE(packet::finish_checksum(packet));
    EXPECT_EQ(std::memcmp(packet.frame(), right.data(), right.size()), 0);
    EXPECT_FALSE(prepare(packet_of(frame), true, kMtu).transport_was_repaired);
  }
}

TEST_F(Prepare, AWrongTransportChecksumStaysWrong) {
  wire::ByteVector frame = tcp(10);
  frame.back() ^= 1;
  packet::Packet& packet = packet_of(frame);
  EXPECT_FALSE(prepare(packet, false, kMtu).transport_was_repaired);
  EXPECT_EQ(packet.checksum, packet::Checksum::unknown);
}

TEST_F(Prepare, NoUdpChecksumIsNoneAndNotUnfinished) {
  wire::ByteVector frame = wire::build_frame({.payload = wire::pattern(10)});
  frame[kIp + 20 + 6] = frame[kIp + 20 + 7] = 0;
  packet::Packet& packet = packet_of(frame);
  EXPECT_FALSE(prepare(packet, false, kMtu).transport_was_repaired);
  EXPECT_NE(packet.checksum, packet::Checksum::partial);
}

TEST_F(Prepare, ShortFramesOfAllLengths) {
  const wire::ByteVector frame = tcp(40);
  for (std::size_t bytes = 0; bytes <= frame.size(); ++bytes) {
    packet::Packet& packet = packet_of(
        wire::ByteVector(frame.begin(), frame.begin() + static_cast<std::ptrdiff_t>(bytes)));
    const Prepared done = prepare(packet, false, kMtu);
    EXPECT_EQ(done.verdict == pipeline::HeaderVerdict::ok, bytes == frame.size()) << bytes;
    pool_.release(&packet);
  }
}

}  // namespace
}  // namespace weir::replay
