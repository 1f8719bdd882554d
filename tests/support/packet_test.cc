#include <gtest/gtest.h>

#include "tests/support/packet_bytes.h"
#include "tests/support/packet_text.h"
#include "tests/support/table_line.h"

namespace weir::test {
namespace {

Packet packet(std::string_view text) {
  const Result<Packet> parsed = parse_packet(text);
  EXPECT_TRUE(parsed) << parsed.error().text;
  return parsed.value_or(Packet{});
}

ByteString bytes(std::string_view text, const Variables& variables = {}) {
  const Result<ByteString> encoded = encode(packet(text), variables);
  EXPECT_TRUE(encoded) << encoded.error().text;
  return encoded.value_or(ByteString{});
}

// Checksums worked out by hand with RFC 1071's arithmetic.
TEST(PacketBytes, BuildsAUdpDatagram) {
  const ByteString expected = {0x45, 0, 0, 32, 0, 1, 0, 0, 64, 17, 0x66, 0xca, 10,  0,   0,   2,
                               10,   0, 0, 1,  0, 7, 0, 9, 0,  12, 0x26, 0xfd, 'a', 'b', 'c', 'd'};
  EXPECT_EQ(bytes("ip 10.0.0.2 > 10.0.0.1 udp 7 > 9 data \"abcd\""), expected);
}

TEST(PacketBytes, SurvivesDecodingAndEncoding) {
  for (const std::string_view text :
       {"ip 10.0.0.2 > 198.51.100.1 tcp 40000 > 80 SA seq 1 ack 2 mss 1460 sackok nop wscale 7",
        "ip 10.0.0.2 > 198.51.100.1 id 7 df udp 5 > 6 data 33",
        "ip6 2001:db8::1 > 2001:db8::2 hlim 3 icmp6 echo id 4 seq 5 data 9",
        "ip 10.0.0.1 > 10.0.0.2 icmp unreachable code 3 [ ip 10.0.0.2 > 9.9.9.9 udp 1 > 2 data 4 "
        "]"}) {
    const ByteString first = bytes(text);
    const Result<ByteString> again = encode(decode(first), {});
    ASSERT_TRUE(again) << again.error().text;
    EXPECT_EQ(*again, first) << text;
  }
}

TEST(PacketBytes, SeesWrongChecksums) {
  EXPECT_TRUE(decode(bytes("ip 1.1.1.1 > 2.2.2.2 badsum udp 1 > 2")).layer("ip")->has("badsum"));
  EXPECT_TRUE(decode(bytes("ip 1.1.1.1 > 2.2.2.2 tcp 1 > 2 S badsum")).layer("tcp")->has("badsum"));
  EXPECT_FALSE(decode(bytes("ip 1.1.1.1 > 2.2.2.2 tcp 1 > 2 S")).layer("tcp")->has("badsum"));
}

TEST(PacketBytes, PiecesMakeUpTheWhole) {
  const ByteString whole = bytes("ip 1.1.1.1 > 2.2.2.2 id 9 udp 1 > 2 data 100");
  const ByteString first = bytes("piece 0 64 of ip 1.1.1.1 > 2.2.2.2 id 9 udp 1 > 2 data 100");
  const ByteString second = bytes("piece 64 44 of ip 1.1.1.1 > 2.2.2.2 id 9 udp 1 > 2 data 100");
  ByteString joined(whole.begin(), whole.begin() + 20);
  joined.insert(joined.end(), first.begin() + 20, first.end());
  joined.insert(joined.end(), second.begin() + 20, second.end());
  EXPECT_EQ(joined, whole);
  EXPECT_TRUE(decode(first).layer("ip")->has("mf"));
  EXPECT_EQ(*decode(second).layer("ip")->find("off"), "64");
}

TEST(PacketText, RefusesWhatItDoesNotKnow) {
  EXPECT_FALSE(parse_packet("ip 1.1.1.1 > 2.2.2.2 udp 1 > 2 colour 5"));
  EXPECT_FALSE(parse_packet("ip 1.1.1.1"));
  EXPECT_FALSE(parse_packet(""));
  EXPECT_FALSE(parse_packet("ip 1.1.1.1 > 2.2.2.2 icmp 3 [ ip 1.1.1.1 > 2.2.2.2"));
}

TEST(Match, BindsAVariableOnceWithinItsRange) {
  Variables variables;
  const Packet actual = decode(bytes("ip 1.1.1.1 > 2.2.2.2 udp 2001 > 53"));
  EXPECT_TRUE(match(packet("ip 1.1.1.1 > 2.2.2.2 udp $p:3000-4000 > 53"), actual, variables));
  EXPECT_TRUE(variables.empty());
  EXPECT_FALSE(match(packet("ip 1.1.1.1 > 2.2.2.2 udp $p:2000-2003 > 53"), actual, variables));
  EXPECT_EQ(variables["p"], "2001");
  const Packet other = decode(bytes("ip 1.1.1.1 > 2.2.2.2 udp 2002 > 53"));
  EXPECT_TRUE(match(packet("ip 1.1.1.1 > 2.2.2.2 udp $p > 53"), other, variables));
}

TEST(Match, ExactlyMeansEveryByte) {
  Variables variables;
  const ByteString actual = bytes("ip 1.1.1.1 > 2.2.2.2 tos 4 udp 7 > 53 data 4");
  EXPECT_FALSE(match_exactly(packet("ip 1.1.1.1 > 2.2.2.2 tos 4 udp $p > 53 data 4"), actual, false,
                             variables));
  EXPECT_TRUE(
      match_exactly(packet("ip 1.1.1.1 > 2.2.2.2 udp $p > 53 data 4"), actual, false, variables));
}

TEST(TableLine, FlagsCountAndOtherWordsMayBeLeftOut) {
  const std::string entry =
      "ipv4     2 tcp      6 119 SYN_SENT src=10.0.0.2 dst=1.1.1.1 sport=4 dport=80 packets=1 "
      "bytes=44 "
      "[UNREPLIED] src=1.1.1.1 dst=10.0.0.2 sport=80 dport=2004 packets=0 bytes=0 mark=0 use=1";
  Variables variables;
  EXPECT_TRUE(match_table_line("tcp timeout=120 SYN_SENT src=10.0.0.2 [UNREPLIED] dport=$p", entry,
                               variables));
  EXPECT_EQ(variables["p"], "2004");
  EXPECT_FALSE(match_table_line("tcp SYN_SENT src=10.0.0.2", entry, variables));
  EXPECT_FALSE(match_table_line("tcp timeout=130 [UNREPLIED]", entry, variables));
  EXPECT_FALSE(match_table_line("tcp [UNREPLIED] [ASSURED]", entry, variables));
}

}  // namespace
}  // namespace weir::test
