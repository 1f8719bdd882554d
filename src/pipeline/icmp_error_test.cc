#include "pipeline/icmp_error.h"

#include <gtest/gtest.h>

#include <cstring>

#include "packet/checksum.h"
#include "pipeline/header_check.h"
#include "wire/build.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace weir::pipeline {
namespace {

using namespace std::chrono_literals;
using packet::Packet;
using wire::ByteVector;

constexpr Time kStart = Time(1000s);
constexpr HashKey kKey = {3, 4};
const wire::Address kRouter = wire::parse_address("10.0.0.1")->address;
const wire::Address kRouter6 = wire::parse_address("2001:db8::ffff")->address;
const IcmpError kExpired = {
    .type = wire::icmp::kTimeExceeded, .code = 0, .rest = 0, .source = kRouter};
const IcmpError kTooBig6 = {
    .type = wire::icmpv6::kPacketTooBig, .code = 0, .rest = 1280, .source = kRouter6};
const IcmpError kNoRoute6 = {
    .type = wire::icmpv6::kUnreachable, .code = 0, .rest = 0, .source = kRouter6};

class IcmpErrors : public testing::Test {
 protected:
  packet::Pool pool{64, 4};

  Packet* checked_frame(const ByteVector& frame) {
    Packet* const packet = pool.take(static_cast<std::uint32_t>(frame.size()));
    packet->length = static_cast<std::uint32_t>(frame.size());
    std::memcpy(packet->frame(), frame.data(), frame.size());
    EXPECT_EQ(check_headers(*packet), HeaderVerdict::ok);
    return packet;
  }
  Packet* checked(const wire::FrameSpec& spec) { return checked_frame(wire::build_frame(spec)); }

  /// What the header check and the checksum say of an answer, as a receiver would.
  void expect_sound(const Packet& answer) {
    Packet* const copy = checked_frame(ByteVector(answer.frame(), answer.frame() + answer.length));
    EXPECT_EQ(copy->ip_length, answer.ip_length);
    EXPECT_EQ(copy->l4_offset, answer.l4_offset);
    EXPECT_EQ(copy->l4_protocol, answer.l4_protocol);
    EXPECT_TRUE(packet::verify_checksum(*copy));
    pool.release(copy);
  }
};

TEST_F(IcmpErrors, Ip4QuotesUpTo576Bytes) {
  Packet* const about = checked({.tos = 0x03, .payload = wire::pattern(1000)});
  Packet* const answer = make_icmp_error(*about, kExpired, pool);
  ASSERT_NE(answer, nullptr);
  expect_sound(*answer);
  EXPECT_EQ(answer->ip_length, 576U);
  const auto& ip = wire::at<wire::Ipv4>(answer->l3().data());
  EXPECT_EQ(ip.src_address(), kRouter);
  EXPECT_EQ(wire::to_string(ip.dst_address(), wire::Family::ip), "192.0.2.1");
  EXPECT_EQ(ip.tos(), 0xc2);  // As the kernel makes it of 3.
  EXPECT_EQ(ip.ttl(), 64);
  EXPECT_FALSE(ip.has_df());
  EXPECT_EQ(std::memcmp(answer->l4().data() + 8, about->l3().data(), 548), 0);
  EXPECT_TRUE(answer->is_from_host);
}

TEST_F(IcmpErrors, Ip4FragmentationNeededCarriesTheMtu) {
  Packet* const answer =
      make_icmp_error(*checked({.payload = wire::pattern(100)}),
                      {.type = 3, .code = 4, .rest = 1400, .source = kRouter}, pool);
  ASSERT_NE(answer, nullptr);
  expect_sound(*answer);
  EXPECT_EQ(wire::at<wire::Icmp>(answer->l4().data()).mtu(), 1400);
  EXPECT_EQ(answer->ip_length, 28U + 128U);
}

TEST_F(IcmpErrors, Ip6QuotesUpTo1280Bytes) {
  Packet* const about =
      checked({.src = "2001:db8::1", .dst = "2001:db8::2", .payload = wire::pattern(1400)});
  Packet* const answer = make_icmp_error(*about, kTooBig6, pool);
  ASSERT_NE(answer, nullptr);
  expect_sound(*answer);
  EXPECT_EQ(answer->ip_length, 1280U);
  EXPECT_EQ(wire::at<wire::Icmp>(answer->l4().data()).rest().host(), 1280U);
}

TEST_F(IcmpErrors, WhatMayNotBeAnswered) {
  struct Case {
    const char* description;
    wire::FrameSpec about;
    IcmpError error;
    bool expected;
  };
  const auto icmp = [](std::uint8_t type) {
    return wire::FrameSpec{.protocol = 1, .icmp_type = type};
  };
  const auto icmp6 = [](std::uint8_t type) {
    return wire::FrameSpec{
        .src = "2001:db8::1", .dst = "2001:db8::2", .protocol = 58, .icmp_type = type};
  };
  const Case cases[] = {
      {"UDP", {}, kExpired, true},
      {"echo", icmp(8), kExpired, true},
      {"echo reply", icmp(0), kExpired, true},
      {"unreachable", icmp(3), kExpired, false},
      {"redirect", icmp(5), kExpired, false},
      {"time exceeded", icmp(11), kExpired, false},
      {"unknown type", icmp(40), kExpired, false},
      {"to multicast", {.dst = "224.0.0.1"}, kExpired, false},
      {"to all", {.dst = "255.255.255.255"}, kExpired, false},
      {"from nobody", {.src = "0.0.0.0"}, kExpired, false},
      {"from a group", {.src = "224.0.0.1"}, kExpired, false},
      {"ICMPv6 echo", icmp6(128), kNoRoute6, true},
      {"ICMPv6 error", icmp6(1), kNoRoute6, false},
      {"unknown ICMPv6 error", icmp6(100), kNoRoute6, false},
      {"IPv6 to multicast", {.src = "2001:db8::1", .dst = "ff0e::1"}, kNoRoute6, false},
      {"IPv6 to multicast, too big", {.src = "2001:db8::1", .dst = "ff0e::1"}, kTooBig6, true},
      {"from ::", {.src = "::", .dst = "2001:db8::1"}, kNoRoute6, false},
  };
  for (const Case& c : cases)
    EXPECT_EQ(may_answer(*checked(c.about), c.error), c.expected) << c.description;

  Packet* const group = checked(wire::FrameSpec{});
  group->link_type = packet::LinkType::broadcast;
  EXPECT_FALSE(may_answer(*group, kExpired));
  ByteVector later = wire::build_frame({});
  wire::at<wire::Ipv4>(&later[14]).set_fragment_field(1);
  wire::at<wire::Ipv4>(&later[14]).fill_checksum();
  EXPECT_FALSE(may_answer(*checked_frame(later), kExpired));
}

TEST_F(IcmpErrors, ResetOfASynAcknowledgesIt) {
  for (const bool is_ip : {true, false}) {
    wire::FrameSpec spec{.protocol = 6, .tcp_flags = wire::Tcp::kSyn, .sequence = 100};
    if (!is_ip) {
      spec.src = "2001:db8::1";
      spec.dst = "2001:db8::2";
    }
    Packet* const answer = make_tcp_reset(*checked(spec), pool);
    ASSERT_NE(answer, nullptr);
    expect_sound(*answer);
    const auto& tcp = wire::at<wire::Tcp>(answer->l4().data());
    EXPECT_EQ(tcp.flags(), wire::Tcp::kRst | wire::Tcp::kAck);
    EXPECT_EQ(tcp.sequence(), 0U);
    EXPECT_EQ(tcp.acknowledgment(), 101U);
    EXPECT_EQ(tcp.src_port().host(), 2000);
    EXPECT_EQ(tcp.dst_port().host(), 1000);
  }
}

TEST_F(IcmpErrors, ResetOfAnAckTakesItsNumber) {
  Packet* const answer = make_tcp_reset(*checked({.protocol = 6,
                                                  .tcp_flags = wire::Tcp::kAck,
                                                  .acknowledgment = 77,
                                                  .payload = wire::pattern(5)}),
                                        pool);
  ASSERT_NE(answer, nullptr);
  const auto& tcp = wire::at<wire::Tcp>(answer->l4().data());
  EXPECT_EQ(tcp.flags(), wire::Tcp::kRst);
  EXPECT_EQ(tcp.sequence(), 77U);
  EXPECT_EQ(tcp.acknowledgment(), 0U);
}

TEST_F(IcmpErrors, NoResetForResetsNorForBrokenSegments) {
  EXPECT_EQ(make_tcp_reset(*checked({.protocol = 6, .tcp_flags = wire::Tcp::kRst}), pool), nullptr);
  EXPECT_EQ(make_tcp_reset(*checked(wire::FrameSpec{}), pool), nullptr);
  ByteVector broken = wire::build_frame({.protocol = 6});
  broken[14 + 20 + 4] ^= 1;
  EXPECT_EQ(make_tcp_reset(*checked_frame(broken), pool), nullptr);
}

int allowed_of(IcmpLimiter& limiter, int count, const wire::Address& to, Time now) {
  int allowed = 0;
  for (int i = 0; i < count; ++i)
    allowed += limiter.allow(wire::Family::ip, kExpired, to, now) ? 1 : 0;
  return allowed;
}

TEST(IcmpLimiter, OneDestinationGetsABurstOfSixAndThenOneASecond) {
  IcmpLimiter limiter(IcmpLimits{}, kKey);
  EXPECT_EQ(allowed_of(limiter, 20, kRouter, kStart), 6);
  EXPECT_EQ(allowed_of(limiter, 20, kRouter, kStart + 999ms), 0);
  EXPECT_EQ(allowed_of(limiter, 20, kRouter, kStart + 1s), 1);
  EXPECT_EQ(allowed_of(limiter, 20, kRouter, kStart + 1h), 6);
}

TEST(IcmpLimiter, AllTogetherGetTheGlobalRate) {
  IcmpLimiter limiter(IcmpLimits{}, kKey);
  int allowed = 0;
  for (std::uint32_t i = 0; i < 10'000; ++i) {  // One a 0.1 ms for a second.
    const Time now = kStart + std::chrono::microseconds(100) * i;
    allowed +=
        limiter.allow(wire::Family::ip, kExpired, wire::Address::ip(0x0a000000 + i), now) ? 1 : 0;
  }
  EXPECT_GT(allowed, 900);  // 1,000 a second and the burst, by tokens that cost one on average.
  EXPECT_LT(allowed, 1250);
}

TEST(IcmpLimiter, PathMtuDiscoveryIsNotLimited) {
  IcmpLimiter limiter(IcmpLimits{}, kKey);
  const IcmpError needed = {.type = 3, .code = 4, .rest = 1400, .source = kRouter};
  for (int i = 0; i < 5000; ++i) {
    EXPECT_TRUE(limiter.allow(wire::Family::ip, needed, kRouter, kStart));
    EXPECT_TRUE(limiter.allow(wire::Family::ip6, kTooBig6, kRouter6, kStart));
  }
}

}  // namespace
}  // namespace weir::pipeline
