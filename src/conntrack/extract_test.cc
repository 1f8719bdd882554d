#include "conntrack/extract.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "conntrack/test_packet.h"
#include "wire/protocol.h"

/// What a packet says before any look-up. What the kernel makes of each was asked of Linux 6.18.
namespace weir::conntrack {
namespace {

using wire::ByteVector;
using wire::FrameSpec;
using Kind = Extracted::Kind;

constexpr std::uint8_t kIcmp = wire::protocol::kIcmp;
constexpr std::uint8_t kIcmpv6 = wire::protocol::kIcmpv6;

/// The packet of a frame: what an ICMP error quotes.
ByteVector packet_of(const FrameSpec& spec, std::size_t bytes = 1000) {
  const ByteVector frame = wire::build_frame(spec);
  return {frame.begin() + 14,
          frame.begin() + static_cast<std::ptrdiff_t>(std::min(frame.size(), 14 + bytes))};
}

FrameSpec error4(std::uint8_t type, ByteVector quoted) {
  return {.src = "203.0.113.1",
          .dst = "192.0.2.1",
          .protocol = kIcmp,
          .icmp_type = type,
          .icmp_code = 0,
          .payload = std::move(quoted)};
}
FrameSpec message6(std::uint8_t type, ByteVector payload = ByteVector(40), std::uint8_t code = 0) {
  return {.src = "2001:db8::9",
          .dst = "2001:db8::1",
          .protocol = kIcmpv6,
          .ttl = 255,
          .icmp_type = type,
          .icmp_code = code,
          .payload = std::move(payload)};
}

const FrameSpec kUdp6{.src = "2001:db8::1", .dst = "2001:db8::2"};

struct Case {
  std::string what;
  ByteVector frame;
  Kind kind = Kind::invalid;
  Reason reason = Reason::none;
  bool is_icmp_error = false;
};

Case of(std::string what, const FrameSpec& spec, Kind kind, Reason reason = Reason::none,
        bool is_icmp_error = false) {
  return {std::move(what), wire::build_frame(spec), kind, reason, is_icmp_error};
}

void expect(const Case& c, bool verify = true) {
  TestPacket packet(c.frame);
  const Extracted got = extract(packet, verify);
  EXPECT_EQ(static_cast<int>(got.kind), static_cast<int>(c.kind)) << c.what;
  EXPECT_EQ(static_cast<int>(got.reason), static_cast<int>(c.reason)) << c.what;
  EXPECT_EQ(got.is_icmp_error, c.is_icmp_error) << c.what;
}

TEST(Extract, TuplesOfEachProtocol) {
  struct Expected {
    const char* what;
    FrameSpec spec;
    std::uint16_t src_port, dst_port;
  };
  const Expected cases[] = {
      {"UDP", {.src_port = 7, .dst_port = 9}, 7, 9},
      {"TCP", {.protocol = 6, .src_port = 7, .dst_port = 9}, 7, 9},
      {"SCTP",
       {.protocol = 132, .payload = {0, 7, 0, 9, 0, 0, 0, 0, 0xd6, 0xcd, 0x4c, 0x8d}},
       7,
       9},
      {"an echo: id, then type and code",
       {.protocol = kIcmp, .icmp_type = 8, .icmp_rest = 0x12340001},
       0x1234,
       0x0800},
      {"GRE has no ports", {.protocol = 47, .payload = {0, 7, 0, 9}}, 0, 0},
      {"IPv6", kUdp6, 1000, 2000},
      {"IPv6 with options",
       {.src = "2001:db8::1", .dst = "2001:db8::2", .ip_options = {17, 0, 1, 4, 0, 0, 0, 0}},
       1000,
       2000},
  };
  for (const Expected& c : cases) {
    TestPacket packet(c.spec);
    const Extracted got = extract(packet, true);
    ASSERT_EQ(got.kind, Kind::tuple) << c.what;
    EXPECT_EQ(got.tuple.src, wire::parse_address(c.spec.src)->address) << c.what;
    EXPECT_EQ(got.tuple.dst, wire::parse_address(c.spec.dst)->address) << c.what;
    EXPECT_EQ(got.tuple.src_port.host(), c.src_port) << c.what;
    EXPECT_EQ(got.tuple.dst_port.host(), c.dst_port) << c.what;
    EXPECT_EQ(got.tuple.protocol, packet.l4_protocol) << c.what;
  }
}

TEST(Extract, AWrongChecksumIsInvalidWhereTheKernelVerifies) {
  const FrameSpec specs[] = {{}, {.protocol = 6}, {.protocol = kIcmp}, kUdp6, message6(128)};
  for (const FrameSpec& spec : specs) {
    Case c = of("protocol " + std::to_string(spec.protocol), spec, Kind::tuple);
    expect(c);
    c.frame.back() ^= 1;  // UDP without payload: its checksum itself.
    c.what += ", spoilt";
    expect(c, false);
    c.kind = Kind::invalid;
    c.reason = Reason::bad_checksum;
    c.is_icmp_error = spec.protocol == kIcmp || spec.protocol == kIcmpv6;
    expect(c);
    TestPacket vouched(c.frame);
    vouched.checksum = packet::Checksum::verified;
    EXPECT_EQ(extract(vouched, true).kind, Kind::tuple) << "the port vouches for it";
  }
}

TEST(Extract, UdpWithoutChecksumAndOtherProtocolsAreNotVerified) {
  Case udp = of("UDP without checksum", {.payload = {1, 2}}, Kind::tuple);
  udp.frame[14 + 20 + 6] = udp.frame[14 + 20 + 7] = 0;
  expect(udp);
  expect(of("ESP, whose payload is nobody's business", {.protocol = 50, .payload = ByteVector(12)},
            Kind::tuple));
}

TEST(Extract, SctpsCrcIsVerified) {
  expect(of("no CRC", {.protocol = 132, .payload = ByteVector(12)}, Kind::invalid,
            Reason::bad_checksum));
  expect(of("no common header", {.protocol = 132, .payload = ByteVector(11)}, Kind::invalid,
            Reason::truncated));
}

TEST(Extract, AVerifiedChecksumIsNoted) {
  TestPacket packet{FrameSpec{.payload = {1, 2, 3}}};
  extract(packet, true);
  EXPECT_EQ(packet.checksum, packet::Checksum::verified);
}

TEST(Extract, TruncatedHeadersAreInvalid) {
  for (const std::uint8_t protocol : {6, 17, 132}) {
    expect(of("protocol " + std::to_string(protocol),
              {.protocol = protocol == 132 ? protocol : std::uint8_t{132}, .payload = {0, 7, 0}},
              Kind::invalid, Reason::truncated));
  }
  Case udp = of("UDP of seven bytes", {}, Kind::invalid, Reason::truncated);
  udp.frame.pop_back();
  expect(udp);
  Case icmp =
      of("ICMP of seven bytes", {.protocol = kIcmp}, Kind::invalid, Reason::truncated, true);
  icmp.frame.pop_back();
  expect(icmp);
  TestPacket later{FrameSpec{}};
  later.is_later_fragment = true;
  EXPECT_EQ(extract(later, true).reason, Reason::not_trackable);
}

TEST(Extract, IcmpTypes) {
  for (const std::uint8_t type : {0, 8, 13, 14, 15, 16, 17, 18, 6, 9, 10}) {
    expect(of("type " + std::to_string(type), {.protocol = kIcmp, .icmp_type = type}, Kind::tuple));
  }
  for (const std::uint8_t type : {19, 40, 255}) {
    expect(of("type " + std::to_string(type), {.protocol = kIcmp, .icmp_type = type}, Kind::invalid,
              Reason::icmp_type, true));
  }
  for (const std::uint8_t type : {3, 4, 5, 11, 12}) {
    expect(of("type " + std::to_string(type), error4(type, packet_of({.src = "192.0.2.1"})),
              Kind::quoted));
  }
}

TEST(Extract, MessagesOfTheLinkAreUntracked) {
  for (const std::uint8_t type : {130, 131, 132, 133, 134, 135, 136, 143, 151, 152}) {
    expect(of("type " + std::to_string(type), message6(type), Kind::untracked));
  }
  // They go on to the tracker, which finds that they begin nothing.
  for (const std::uint8_t type : {129, 138, 141, 142, 144, 153, 255}) {
    expect(of("type " + std::to_string(type), message6(type), Kind::tuple));
  }
  expect(of("echo", message6(128), Kind::tuple));
  Case spoilt = of("a solicitation with a wrong checksum", message6(135), Kind::invalid,
                   Reason::bad_checksum, true);
  spoilt.frame.back() ^= 1;
  expect(spoilt);
}

TEST(Extract, AnErrorIsLookedUpByTheAnswerToWhatItQuotes) {
  const FrameSpec inner{.src = "192.0.2.1", .dst = "198.51.100.7", .src_port = 11, .dst_port = 22};
  TestPacket error(error4(3, packet_of(inner)));
  const Extracted got = extract(error, true);
  ASSERT_EQ(got.kind, Kind::quoted);
  EXPECT_EQ(got.tuple.src, wire::parse_address("198.51.100.7")->address);
  EXPECT_EQ(got.tuple.dst, wire::parse_address("192.0.2.1")->address);
  EXPECT_EQ(got.tuple.src_port.host(), 22);
  EXPECT_EQ(got.tuple.dst_port.host(), 11);
  EXPECT_EQ(got.outer_dst, wire::parse_address("192.0.2.1")->address);
}

TEST(Extract, QuotationsThatCantBeRead) {
  const FrameSpec udp{.src = "192.0.2.1"};
  const auto unreadable = [](std::string what, ByteVector quoted) {
    expect(of(std::move(what), error4(3, std::move(quoted)), Kind::invalid,
              Reason::icmp_quote_unreadable, true));
  };
  unreadable("nothing", {});
  unreadable("half a header", packet_of(udp, 19));
  unreadable("no ports", packet_of(udp, 23));
  expect(of("ports and no more", error4(3, packet_of(udp, 24)), Kind::quoted));
  ByteVector later = packet_of(udp);
  later[7] = 1;  // Fragment offset.
  unreadable("a later fragment", later);
  ByteVector version = packet_of(udp);
  version[0] = 0x65;
  expect(of("the version isn't looked at, as in Linux", error4(3, version), Kind::quoted));
  ByteVector long_header = packet_of(udp, 28);
  long_header[0] = 0x4f;
  unreadable("a header longer than the quotation", long_header);
  unreadable("an error about an error", packet_of(error4(3, packet_of(udp))));
}

TEST(Extract, Icmpv6Errors) {
  for (const std::uint8_t type : {1, 2, 3, 4}) {
    expect(of("type " + std::to_string(type), message6(type, packet_of(kUdp6)), Kind::quoted));
  }
  expect(of("half a header", message6(1, packet_of(kUdp6, 39)), Kind::invalid,
            Reason::icmp_quote_unreadable, true));
  FrameSpec piece = kUdp6;
  piece.protocol = 132;
  piece.first_header = 44;
  piece.ip_options = {132, 0, 0, 8, 0, 0, 0, 1};  // A fragment from byte 8 on.
  piece.payload = ByteVector(8);
  expect(of("a later fragment", message6(1, packet_of(piece)), Kind::invalid,
            Reason::icmp_quote_unreadable, true));
}

TEST(Extract, RedirectsComeFromARouterOfTheLink) {
  // Reserved, target and destination lie before the options; the first one quotes the packet.
  ByteVector option = {4, 6, 0, 0, 0, 0, 0, 0};
  const ByteVector quoted = packet_of(kUdp6);
  option.insert(option.end(), quoted.begin(), quoted.end());
  ByteVector body(32);
  body.insert(body.end(), option.begin(), option.end());
  FrameSpec redirect = message6(137, body);
  redirect.src = "fe80::1";
  expect(of("as it should be", redirect, Kind::quoted));

  FrameSpec far = redirect;
  far.ttl = 254;
  expect(of("from beyond the link", far, Kind::invalid, Reason::icmp_redirect, true));
  FrameSpec global = redirect;
  global.src = "2001:db8::9";
  expect(of("from a global address", global, Kind::invalid, Reason::icmp_redirect, true));
  FrameSpec code = redirect;
  code.icmp_code = 1;
  expect(of("with a code", code, Kind::invalid, Reason::icmp_not_a_beginning));
  FrameSpec bare = redirect;
  bare.payload = ByteVector(32);
  expect(of("without options", bare, Kind::invalid, Reason::icmp_redirect, true));
  FrameSpec other = redirect;
  other.payload[32] = 2;
  expect(of("whose first option is another", other, Kind::invalid, Reason::icmp_not_a_beginning));
}

TEST(Extract, ZonesOfTheTemplate) {
  packet::CtRef ct;
  ct.zone = 5;
  ct.zone_directions = 1;
  EXPECT_EQ(template_zone(ct, Direction::original), 5);
  EXPECT_EQ(template_zone(ct, Direction::reply), 0);
  ct.zone_directions = 3;
  EXPECT_EQ(template_zone(ct, Direction::reply), 5);
}

}  // namespace
}  // namespace weir::conntrack
