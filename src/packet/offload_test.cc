#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstring>
#include <vector>

#include "packet/checksum.h"
#include "packet/pool.h"
#include "packet/segment.h"
#include "wire/build.h"
#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace weir::packet {
namespace {

using wire::ByteVector;
using wire::Tcp;

class Offload : public testing::Test {
 protected:
  Pool pool{256, 4};

  Packet* packet_of(const wire::FrameSpec& spec) {
    const ByteVector frame = wire::build_frame(spec);
    Packet* const packet = pool.take(static_cast<std::uint32_t>(frame.size()));
    packet->length = static_cast<std::uint32_t>(frame.size());
    std::memcpy(packet->frame(), frame.data(), frame.size());
    packet->l3_offset = 14;
    packet->ip_length = packet->length - 14;
    const bool is_ip = (frame[14] >> 4) == 4;
    packet->family = is_ip ? wire::Family::ip : wire::Family::ip6;
    packet->l4_offset = is_ip ? 34 : 54;
    packet->l4_protocol = spec.protocol;
    return packet;
  }

  /// Turns a finished checksum into what a sender leaves to its device.
  static void make_partial(Packet& packet, std::uint16_t offset) {
    const auto length = static_cast<std::uint32_t>(packet.l4().size());
    store(packet.l4().data() + offset,
          wire::fold(
              wire::pseudo_header(packet.family, packet.l3().data(), packet.l4_protocol, length)));
    packet.checksum = Checksum::partial;
    packet.csum_start = packet.l4_offset;
    packet.csum_offset = offset;
  }
  static ByteVector bytes_of(const Packet& packet) {
    return {packet.frame(), packet.frame() + packet.length};
  }
  std::vector<Packet*> cut(const Packet& big) {
    std::vector<Packet*> parts;
    segment(big, pool, [&](Packet* part) { parts.push_back(part); });
    return parts;
  }
};

TEST_F(Offload, PartialBecomesWhatTheSenderWouldHaveComputed) {
  struct Case {
    wire::FrameSpec spec;
    std::uint16_t offset;
  };
  const Case cases[] = {
      {{.payload = wire::pattern(33)}, 6},
      {{.protocol = 6, .payload = wire::pattern(1000)}, 16},
      {{.src = "2001:db8::1", .dst = "2001:db8::2", .payload = wire::pattern(1)}, 6},
      {{.src = "2001:db8::1", .dst = "2001:db8::2", .protocol = 6}, 16},
  };
  for (const Case& c : cases) {
    Packet* const packet = packet_of(c.spec);
    make_partial(*packet, c.offset);
    EXPECT_NE(bytes_of(*packet), wire::build_frame(c.spec));
    EXPECT_TRUE(finish_checksum(*packet));
    EXPECT_EQ(packet->checksum, Checksum::verified);
    EXPECT_EQ(bytes_of(*packet), wire::build_frame(c.spec));
  }
}

TEST_F(Offload, PartialOutsideThePacketIsRefused) {
  Packet* const packet = packet_of({});
  make_partial(*packet, 6);
  packet->csum_start = static_cast<std::uint16_t>(packet->length - 7);
  EXPECT_FALSE(finish_checksum(*packet));
  packet->csum_start = 60000;
  EXPECT_FALSE(finish_checksum(*packet));
}

TEST_F(Offload, VerifiesOnceAndRemembers) {
  for (const std::uint8_t protocol : {1, 6, 17, 58}) {
    const bool is_ip6 = protocol == 58;
    wire::FrameSpec spec{.protocol = protocol, .payload = wire::pattern(21)};
    if (is_ip6) {
      spec.src = "2001:db8::1";
      spec.dst = "2001:db8::2";
    }
    Packet* const good = packet_of(spec);
    EXPECT_TRUE(verify_checksum(*good)) << int{protocol};
    EXPECT_EQ(good->checksum, Checksum::verified);
    Packet* const bad = packet_of(spec);
    bad->frame()[bad->length - 1] ^= 1;
    EXPECT_FALSE(verify_checksum(*bad)) << int{protocol};
    EXPECT_EQ(bad->checksum, Checksum::unknown);
  }
}

TEST_F(Offload, UdpWithoutAChecksumIsFineInIpv4Only) {
  Packet* const ip = packet_of({});
  store(ip->l4().data() + 6, Be16{0});
  EXPECT_TRUE(verify_checksum(*ip));
  Packet* const ip6 = packet_of({.src = "2001:db8::1", .dst = "2001:db8::2"});
  store(ip6->l4().data() + 6, Be16{0});
  EXPECT_FALSE(verify_checksum(*ip6));
}

TEST_F(Offload, HeaderThatIsCutOffIsNotRight) {
  Packet* const packet = packet_of({.protocol = 6});
  packet->ip_length -= 1;
  EXPECT_FALSE(verify_checksum(*packet));
}

TEST_F(Offload, TcpSegmentsAreAStreamOfSoundPackets) {
  const ByteVector payload = wire::pattern(3500);
  Packet* const big = packet_of({.protocol = 6,
                                 .ip_id = 0xffff,
                                 .tcp_flags = Tcp::kAck | Tcp::kPsh | Tcp::kFin | Tcp::kCwr,
                                 .sequence = 0xfffffff0,
                                 .tcp_options = {1, 1, 1, 1},
                                 .payload = payload});
  make_partial(*big, 16);
  big->gso = {.type = Gso::Type::tcp4, .segment_bytes = 1448};
  big->mark = 9;
  const auto parts = cut(*big);
  ASSERT_EQ(parts.size(), 3U);

  ByteVector seen;
  std::uint32_t sequence = 0xfffffff0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    Packet& part = *parts[i];
    const bool is_last = i == 2;
    const auto& ip = wire::at<wire::Ipv4>(part.l3().data());
    const auto& tcp = wire::at<Tcp>(part.l4().data());
    EXPECT_EQ(ip.total_bytes(), part.ip_length);
    EXPECT_EQ(wire::finish(wire::sum(part.l3().first(20))).raw, 0);
    EXPECT_EQ(ip.id().host(), static_cast<std::uint16_t>(0xffff + i));
    EXPECT_EQ(tcp.sequence(), sequence);
    EXPECT_EQ(tcp.flags(),
              Tcp::kAck | (is_last ? Tcp::kPsh | Tcp::kFin : 0) | (i == 0 ? Tcp::kCwr : 0));
    EXPECT_EQ(part.mark, 9U);
    EXPECT_EQ(part.gso.type, Gso::Type::none);
    part.checksum = Checksum::unknown;
    EXPECT_TRUE(verify_checksum(part));
    const Bytes data = Bytes(part.l4()).subspan(24);
    EXPECT_EQ(data.size(), is_last ? 604U : 1448U);
    seen.insert(seen.end(), data.begin(), data.end());
    sequence += static_cast<std::uint32_t>(data.size());
  }
  EXPECT_EQ(seen, payload);
}

TEST_F(Offload, UdpSegmentsHaveAHeaderEach) {
  Packet* const big =
      packet_of({.src = "2001:db8::1", .dst = "2001:db8::2", .payload = wire::pattern(2500)});
  big->gso = {.type = Gso::Type::udp, .segment_bytes = 1000};
  const auto parts = cut(*big);
  ASSERT_EQ(parts.size(), 3U);
  for (std::size_t i = 0; i < 3; ++i) {
    const std::uint16_t bytes = i == 2 ? 508 : 1008;
    EXPECT_EQ(wire::at<wire::Udp>(parts[i]->l4().data()).length(), bytes);
    EXPECT_EQ(wire::at<wire::Ipv6>(parts[i]->l3().data()).payload_bytes(), bytes);
    parts[i]->checksum = Checksum::unknown;
    EXPECT_TRUE(verify_checksum(*parts[i]));
  }
}

TEST_F(Offload, TypeAndHeadersThatDisagreeAreNotCut) {
  Packet* const udp = packet_of({.payload = wire::pattern(3000)});
  udp->gso = {.type = Gso::Type::tcp4, .segment_bytes = 1000};
  EXPECT_TRUE(cut(*udp).empty());
  Packet* const tcp = packet_of({.protocol = 6, .payload = wire::pattern(3000)});
  tcp->gso = {.type = Gso::Type::tcp6, .segment_bytes = 1000};
  EXPECT_TRUE(cut(*tcp).empty());
  tcp->gso = {.type = Gso::Type::tcp4, .segment_bytes = 0};
  EXPECT_TRUE(cut(*tcp).empty());
}

TEST_F(Offload, DryPoolLosesTheRest) {
  Pool few(2, 1);
  Packet* const big = packet_of({.protocol = 6, .payload = wire::pattern(5000)});
  big->gso = {.type = Gso::Type::tcp4, .segment_bytes = 1000};
  std::size_t seen = 0;
  EXPECT_EQ(segment(*big, few, [&](Packet*) { ++seen; }), 2U);
  EXPECT_EQ(seen, 2U);
}

TEST(Pool, GivesWhatFitsAndNothingWhenEmpty) {
  Pool pool(1, 1);
  Packet* const small = pool.take(kSmallFrameBytes);
  Packet* const large = pool.take(kSmallFrameBytes + 1);
  ASSERT_NE(small, nullptr);
  ASSERT_NE(large, nullptr);
  EXPECT_GE(small->tailroom(), kSmallFrameBytes);
  EXPECT_GE(large->tailroom(), kLargeFrameBytes);
  EXPECT_EQ(pool.take(1), nullptr);
  EXPECT_EQ(pool.take(kLargeFrameBytes), nullptr);
  small->mark = 5;
  pool.release(small);
  EXPECT_EQ(pool.take(kLargeFrameBytes + 1), nullptr);
  EXPECT_EQ(pool.take(1)->mark, 0U);
}

}  // namespace
}  // namespace weir::packet
