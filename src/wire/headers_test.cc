#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "wire/build.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/protocol.h"
#include "wire/reader.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace weir::wire {
namespace {

TEST(Reader, PastTheEndIsZeroAndShort) {
  const ByteVector bytes = {0x12, 0x34, 0x56};
  Reader reader(bytes);
  EXPECT_EQ(reader.u16(), 0x1234);
  EXPECT_FALSE(reader.is_short());
  EXPECT_EQ(reader.u32(), 0U);
  EXPECT_TRUE(reader.is_short());
  EXPECT_EQ(reader.u8(), 0);  // The rest is gone: no reader goes on in the middle of a structure.
}

TEST(View, EndsWhereTheBytesEnd) {
  const ByteVector bytes(27);
  EXPECT_NE(view<Tcp>(bytes, 7), nullptr);
  EXPECT_EQ(view<Tcp>(bytes, 8), nullptr);
  EXPECT_EQ(view<Tcp>(bytes, 28), nullptr);
}

TEST(Ipv4, FieldsAtAnOddAddress) {
  ByteVector bytes(21);
  auto& ip = at<Ipv4>(bytes.data() + 1);
  ip.set_version_and_header_bytes(20);
  ip.set_total_bytes(1500);
  ip.set_fragment_field(Ipv4::kMoreFragments | 185);
  ip.set_src(Be32::from_host(0xc0000201));
  EXPECT_EQ(ip.version(), 4);
  EXPECT_EQ(ip.header_bytes(), 20U);
  EXPECT_EQ(ip.total_bytes(), 1500);
  EXPECT_TRUE(ip.has_more());
  EXPECT_FALSE(ip.has_df());
  EXPECT_EQ(ip.fragment_offset_bytes(), 1480U);
  EXPECT_EQ(to_string(ip.src_address(), Family::ip), "192.0.2.1");
}

TEST(Ipv4, DecrementAndTosKeepTheChecksum) {
  EXPECT_TRUE(rc::check([](std::uint8_t ttl, std::uint8_t tos, std::uint16_t id) {
    RC_PRE(ttl > 0);
    ByteVector frame = build_frame({.ttl = ttl, .ip_id = id});
    auto& ip = at<Ipv4>(&frame[14]);
    ip.decrement_ttl();
    ip.rewrite_tos(tos);
    RC_ASSERT(ip.ttl() == ttl - 1);
    RC_ASSERT(finish(sum(Bytes(ip.raw, 20))).raw == 0);
  }));
}

TEST(Options, PaddingIsPassedOverAndTheEndEnds) {
  const ByteVector bytes = {1, 1, 2, 4, 5, 180, 0, 3, 3, 7};
  OptionWalk walk(bytes);
  ASSERT_TRUE(walk.next());
  EXPECT_EQ(walk.kind(), 2);
  EXPECT_EQ(walk.offset(), 2U);
  EXPECT_EQ(walk.data().size(), 2U);
  EXPECT_FALSE(walk.next());
  EXPECT_FALSE(walk.is_malformed());
}

TEST(Options, LengthsThatLieAreMalformed) {
  for (const ByteVector& bytes :
       {ByteVector{5}, ByteVector{5, 1}, ByteVector{5, 0}, ByteVector{5, 3}}) {
    OptionWalk walk(bytes);
    EXPECT_FALSE(walk.next());
    EXPECT_TRUE(walk.is_malformed());
  }
}

TEST(Tcp, OptionsOfAHandshake) {
  const ByteVector options = {2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2, 8, 10, 0, 0, 0, 9, 0, 0, 0, 8};
  const TcpOptions found = parse_tcp_options(options);
  EXPECT_EQ(found.mss, 1460);
  EXPECT_EQ(found.window_scale, 7);
  EXPECT_TRUE(found.has_sack_permitted);
  EXPECT_TRUE(found.has_timestamps);
  EXPECT_EQ(found.timestamp, 9U);
  EXPECT_EQ(found.timestamp_echo, 8U);
}

TEST(Tcp, SackBlocksAreBounded) {
  ByteVector options = {5, 2 + 8 * 4};
  for (std::uint8_t i = 0; i < 4; ++i) {
    const ByteVector block = {0, 0, 0, i, 0, 0, 1, i};
    options.insert(options.end(), block.begin(), block.end());
  }
  const TcpOptions found = parse_tcp_options(options);
  ASSERT_EQ(found.sack_count, 4);
  EXPECT_EQ(found.sack[3].left, 3U);
  EXPECT_EQ(found.sack[3].right, 259U);
}

TEST(Tcp, OptionBytesNeedARightDataOffset) {
  ByteVector segment(24);
  auto& tcp = at<Tcp>(segment.data());
  tcp.set_header_bytes(24);
  EXPECT_EQ(tcp_options(segment).size(), 4U);
  tcp.set_header_bytes(28);
  EXPECT_TRUE(tcp_options(segment).empty());
  tcp.set_header_bytes(16);
  EXPECT_TRUE(tcp_options(segment).empty());
}

ByteVector ip6_with(std::uint8_t first, const ByteVector& extensions) {
  const ByteVector frame = build_frame({.src = "2001:db8::1",
                                        .dst = "2001:db8::2",
                                        .ip_options = extensions,
                                        .first_header = first});
  return {frame.begin() + 14, frame.end()};
}

TEST(Ipv6, ChainGoesThroughEveryExtensionHeader) {
  // Hop-by-hop, destination options, routing, authentication (length in words less two), UDP.
  ByteVector extensions = {60, 0, 1, 4, 0, 0, 0,  0, 43, 0, 1, 4, 0, 0, 0, 0, 51, 0,
                           0,  0, 0, 0, 0, 0, 17, 1, 0,  0, 0, 0, 0, 0, 0, 0, 0,  0};
  const Ipv6Chain chain = walk_chain(ip6_with(protocol::kHopByHop, extensions));
  EXPECT_FALSE(chain.is_malformed);
  EXPECT_EQ(chain.protocol, protocol::kUdp);
  EXPECT_EQ(chain.transport_offset, 40 + extensions.size());
  EXPECT_EQ(chain.last_next_header, 64U);
  EXPECT_FALSE(chain.has_fragment_header);
}

TEST(Ipv6, ChainStopsAtALaterFragment) {
  const ByteVector extensions = {60, 0, 0x05, 0xa8, 0, 0, 0, 7};
  const Ipv6Chain chain = walk_chain(ip6_with(protocol::kFragment, extensions));
  EXPECT_TRUE(chain.is_later_fragment);
  EXPECT_EQ(chain.protocol, protocol::kDestinationOptions);  // As said there, not followed.
  EXPECT_EQ(chain.transport_offset, 48U);
  EXPECT_EQ(chain.fragment_offset, 40U);
  EXPECT_EQ(chain.fragment_previous, 6U);
}

TEST(Ipv6, ChainIsBounded) {
  ByteVector extensions;
  for (int i = 0; i < 40; ++i) {
    const ByteVector options = {60, 0, 1, 4, 0, 0, 0, 0};
    extensions.insert(extensions.end(), options.begin(), options.end());
  }
  EXPECT_TRUE(walk_chain(ip6_with(protocol::kDestinationOptions, extensions)).is_malformed);
}

TEST(Ipv6, ChainNeverLeavesHostileBytes) {
  const auto byte = rc::gen::weightedOneOf<std::uint8_t>(
      {{3, rc::gen::element<std::uint8_t>(0, 1, 43, 44, 51, 60)},
       {1, rc::gen::arbitrary<std::uint8_t>()}});
  EXPECT_TRUE(rc::check([&] {
    const auto count = *rc::gen::inRange<std::size_t>(40, 200);
    const ByteVector bytes = *rc::gen::container<ByteVector>(count, byte);
    const Ipv6Chain chain = walk_chain(bytes);
    if (!chain.is_malformed) RC_ASSERT(chain.transport_offset <= bytes.size());
    RC_ASSERT(chain.fragment_offset + 8 <= bytes.size() || !chain.has_fragment_header);
  }));
}

TEST(Protocol, Names) {
  EXPECT_EQ(protocol_name(6), "tcp");
  EXPECT_EQ(protocol_name(136), "udplite");
  EXPECT_EQ(protocol_name(200), "unknown");
}

}  // namespace
}  // namespace weir::wire
