#include "nat/rewrite.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "nat/nat.h"
#include "nat/test_packet.h"
#include "packet/checksum.h"
#include "wire/protocol.h"

namespace weir::nat {
namespace {

using conntrack::Tuple;
using test::Octets;
using test::TestPacket;
using wire::Address;
using wire::Family;

Address address(Family family) {
  Address a;
  const auto bytes = *rc::gen::container<std::vector<std::uint8_t>>(
      wire::address_bytes(family), rc::gen::arbitrary<std::uint8_t>());
  std::copy(bytes.begin(), bytes.end(), a.bytes.begin());
  return a;
}

Be16 port() { return Be16{*rc::gen::arbitrary<std::uint16_t>()}; }

Tuple tuple() {
  Tuple t;
  t.family = *rc::gen::element(Family::ip, Family::ip6);
  const std::uint8_t icmp =
      t.family == Family::ip ? wire::protocol::kIcmp : wire::protocol::kIcmpv6;
  t.protocol = *rc::gen::element(wire::protocol::kTcp, wire::protocol::kUdp, icmp);
  t.src = address(t.family);
  t.dst = address(t.family);
  t.src_port = port();
  t.dst_port =
      t.protocol == icmp ? Be16::from_host(t.family == Family::ip ? 8 << 8 : 128 << 8) : port();
  return t;
}

test::Spec spec() {
  return {.tuple = tuple(),
          .payload = *rc::gen::resize(50, rc::gen::arbitrary<Octets>()),
          .has_checksum = true,
          .option_words = *rc::gen::inRange<std::size_t>(0, 4)};
}

/// The same connection with other ends; the ICMP type stays.
Tuple other_ends(const Tuple& from) {
  Tuple to = from;
  to.src = address(from.family);
  to.dst = address(from.family);
  to.src_port = port();
  if (from.protocol == wire::protocol::kTcp || from.protocol == wire::protocol::kUdp)
    to.dst_port = port();
  return to;
}

/// A fixed flow, for the cases that need no chance.
Tuple flow(std::uint8_t protocol) {
  Tuple t;
  t.src = Address::ip(0x0a000001);
  t.dst = Address::ip(0xc0000201);
  t.src_port = Be16::from_host(1000);
  t.dst_port = Be16::from_host(53);
  t.family = Family::ip;
  t.protocol = protocol;
  return t;
}

void translate(TestPacket& packet, const Tuple& target) {
  RC_ASSERT(rewrite(packet.packet, Manip::dst, target));
  RC_ASSERT(rewrite(packet.packet, Manip::src, target));
}

TEST(Rewrite, GivesTheTargetAndRightChecksums) {
  EXPECT_TRUE(rc::check([] {
    const test::Spec made = spec();
    TestPacket packet(datagram(made));
    RC_ASSERT(test::has_right_checksums(packet.datagram()));
    const Tuple target = other_ends(made.tuple);
    translate(packet, target);
    RC_ASSERT(test::tuple_of(packet.datagram()) == target);
    RC_ASSERT(test::has_right_checksums(packet.datagram()));
  }));
}

TEST(Rewrite, InverseGivesThePacketBack) {
  EXPECT_TRUE(rc::check([] {
    const test::Spec made = spec();
    const Octets before = datagram(made);
    TestPacket packet(before);
    translate(packet, other_ends(made.tuple));
    translate(packet, made.tuple);
    RC_ASSERT(packet.datagram() == before);
  }));
}

TEST(Rewrite, OneSideOnly) {
  EXPECT_TRUE(rc::check([] {
    const test::Spec made = spec();
    if (made.tuple.protocol != wire::protocol::kTcp && made.tuple.protocol != wire::protocol::kUdp)
      return;
    TestPacket packet(datagram(made));
    const Tuple target = other_ends(made.tuple);
    RC_ASSERT(rewrite(packet.packet, Manip::src, target));
    const Tuple now = test::tuple_of(packet.datagram());
    RC_ASSERT(now.src == target.src && now.src_port == target.src_port);
    RC_ASSERT(now.dst == made.tuple.dst && now.dst_port == made.tuple.dst_port);
  }));
}

TEST(Rewrite, UnfinishedChecksumsComeOutRight) {
  EXPECT_TRUE(rc::check([] {
    test::Spec made = spec();
    if (made.tuple.protocol != wire::protocol::kTcp) made.tuple.protocol = wire::protocol::kUdp;
    TestPacket packet(datagram(made));
    packet.make_partial();
    const Tuple target = other_ends(made.tuple);
    translate(packet, target);
    RC_ASSERT(packet.packet.checksum == packet::Checksum::partial);
    RC_ASSERT(packet::finish_checksum(packet.packet));
    RC_ASSERT(test::has_right_checksums(packet.datagram()));
    RC_ASSERT(test::tuple_of(packet.datagram()) == target);
  }));
}

TEST(Rewrite, WrongChecksumStaysWrong) {
  EXPECT_TRUE(rc::check([] {
    const test::Spec made = spec();
    Octets bad = datagram(made);
    // Not the checksum field itself: all ones there would be right, if zero is.
    bad[0 + test::transport_offset(bad) + 5] ^= 0x10;
    TestPacket packet(bad);
    RC_PRE(!test::has_right_checksums(packet.datagram()));
    translate(packet, other_ends(made.tuple));
    if (made.tuple.protocol == wire::protocol::kTcp)
      RC_ASSERT(!test::has_right_checksums(packet.datagram()));
  }));
}

TEST(Rewrite, UdpWithoutChecksumStaysWithout) {
  EXPECT_TRUE(rc::check([] {
    test::Spec made = spec();
    made.tuple.protocol = wire::protocol::kUdp;
    made.has_checksum = false;
    const Octets before = datagram(made);
    TestPacket packet(before);
    translate(packet, other_ends(made.tuple));
    const std::size_t at = test::transport_offset(before) + 6;
    RC_ASSERT(packet.datagram()[at] == 0 && packet.datagram()[at + 1] == 0);
  }));
}

// RFC 768: a UDP checksum that comes out as zero is sent as all ones.
TEST(Rewrite, UdpChecksumNeverBecomesNone) {
  Tuple t = flow(wire::protocol::kUdp);
  int met = 0;
  for (std::uint32_t port = 0; port < 0x10000; ++port) {
    TestPacket packet(test::datagram({.tuple = t}));
    Tuple target = t;
    target.src_port = Be16::from_host(static_cast<std::uint16_t>(port));
    ASSERT_TRUE(rewrite(packet.packet, Manip::src, target));
    const Octets now = packet.datagram();
    ASSERT_FALSE(now[26] == 0 && now[27] == 0) << port;
    met += now[26] == 0xff && now[27] == 0xff ? 1 : 0;
  }
  EXPECT_GE(met, 1);
}

TEST(Rewrite, LaterFragmentHasNoPorts) {
  Tuple t = flow(wire::protocol::kUdp);
  const Octets before = test::datagram({.tuple = t, .payload = Octets(20, 9)});
  TestPacket packet(before);
  packet.packet.is_later_fragment = true;
  Tuple target = t;
  target.src = Address::ip(0x01020304);
  target.src_port = Be16::from_host(7);
  ASSERT_TRUE(rewrite(packet.packet, Manip::src, target));
  const Octets after = packet.datagram();
  EXPECT_EQ(test::tuple_of(after).src, target.src);
  EXPECT_TRUE(std::equal(before.begin() + 20, before.end(), after.begin() + 20));
}

TEST(Rewrite, TruncatedTransportIsRefusedUntouched) {
  Tuple t = flow(wire::protocol::kTcp);
  Octets before = test::datagram({.tuple = t});
  before.resize(20 + 7);
  TestPacket packet(before);
  Tuple target = t;
  target.src = Address::ip(0x01020304);
  EXPECT_FALSE(rewrite(packet.packet, Manip::src, target));
  EXPECT_EQ(packet.datagram(), before);
}

/// An error about a packet that had been translated on its way out: `inside` was sent, `outside`
/// arrived where the error was made.
struct ErrorCase {
  Tuple inside;
  Tuple outside;
  Octets sent;
  Octets arrived;
  Octets error;
};

ErrorCase error_case() {
  test::Spec made = spec();
  ErrorCase c;
  c.inside = made.tuple;
  c.sent = datagram(made);
  c.outside = c.inside;
  c.outside.src = address(c.inside.family);
  c.outside.src_port = port();
  made.tuple = c.outside;
  c.arrived = datagram(made);
  const std::size_t least = test::transport_offset(c.arrived) + 8;
  // Not half a checksum: nothing can be said of one.
  const std::size_t quoted = least + 2 * *rc::gen::inRange<std::size_t>(0, 20);
  c.error =
      test::error(c.inside.family, address(c.inside.family), c.outside.src, c.arrived, quoted);
  return c;
}

/// The mapping as rewrite_error wants it for an error on its way back.
void translate_back(TestPacket& packet, const ErrorCase& c) {
  RC_ASSERT(rewrite_error(packet.packet, Manip::dst, mirrored(c.inside), c.inside));
}

TEST(RewriteError, OuterAndQuoteAreTranslated) {
  EXPECT_TRUE(rc::check([] {
    const ErrorCase c = error_case();
    TestPacket packet(c.error);
    RC_ASSERT(test::has_right_checksums(c.error));
    translate_back(packet, c);
    const Octets now = packet.datagram();
    RC_ASSERT(test::has_right_checksums(now));
    RC_ASSERT(test::tuple_of(now).dst == c.inside.src);
    RC_ASSERT(test::tuple_of(now).src == test::tuple_of(c.error).src);
    // Bit for bit the quote is what had been sent.
    const std::size_t at = test::transport_offset(now) + 8;
    const std::size_t count = now.size() - at;
    RC_ASSERT(std::equal(now.begin() + static_cast<std::ptrdiff_t>(at), now.end(), c.sent.begin(),
                         c.sent.begin() + static_cast<std::ptrdiff_t>(count)));
    RC_ASSERT(test::has_right_quote(now, c.sent));
  }));
}

TEST(RewriteError, InverseGivesThePacketBack) {
  EXPECT_TRUE(rc::check([] {
    const ErrorCase c = error_case();
    TestPacket packet(c.error);
    translate_back(packet, c);
    RC_ASSERT(rewrite_error(packet.packet, Manip::dst, mirrored(c.outside), c.outside));
    RC_ASSERT(packet.datagram() == c.error);
  }));
}

TEST(RewriteError, ShortQuoteIsRefusedUntouched) {
  EXPECT_TRUE(rc::check([] {
    const ErrorCase c = error_case();
    Octets cut = c.error;
    const std::size_t quote = test::transport_offset(cut) + 8;
    cut.resize(quote + *rc::gen::inRange<std::size_t>(0, test::transport_offset(c.arrived) + 8));
    TestPacket packet(cut);
    RC_ASSERT(!rewrite_error(packet.packet, Manip::dst, mirrored(c.inside), c.inside));
    RC_ASSERT(packet.datagram() == cut);
  }));
}

TEST(RewriteError, AnyBytesAreSurvived) {
  EXPECT_TRUE(rc::check([] {
    const ErrorCase c = error_case();
    Octets bytes = c.error;
    const std::size_t from = test::transport_offset(bytes) + 8;
    for (std::size_t i = from; i < bytes.size(); ++i) {
      if (*rc::gen::inRange(0, 4) == 0) bytes[i] = *rc::gen::arbitrary<std::uint8_t>();
    }
    TestPacket packet(bytes);
    const bool done = rewrite_error(packet.packet, Manip::dst, mirrored(c.inside), c.inside);
    if (!done) RC_ASSERT(packet.datagram() == bytes);
  }));
}

}  // namespace
}  // namespace weir::nat
