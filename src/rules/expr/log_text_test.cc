#include "rules/expr/log_text.h"

#include <gtest/gtest.h>
#include <linux/netfilter/nf_log.h>

#include <array>

#include "rules/context.h"

namespace weir::rules {
namespace {

// Ethernet, IPv4 from 192.0.2.1 to 198.51.100.2 (DF, TTL 64, id 7), TCP SYN with an MSS option.
constexpr std::uint8_t kSyn[] = {
    0x02, 0,    0, 0,   0, 1, 0x02, 0, 0,  0, 0, 2, 0x08, 0x00,                               //
    0x45, 0,    0, 44,  0, 7, 0x40, 0, 64, 6, 0, 0, 192,  0,    2,    1,    198, 51, 100, 2,  //
    0x04, 0xd2, 0, 80,  0, 0, 0,    1, 0,  0, 0, 0, 0x60, 0x02, 0x72, 0x10, 0,   0,  0,   0,  //
    2,    4,    5, 0xb4};

struct LogText : testing::Test {
  LogText() {
    std::copy(std::begin(kSyn), std::end(kSyn), frame.begin());
    packet.buffer = frame.data();
    packet.capacity_bytes = packet.length = frame.size();
    packet.family = wire::Family::ip;
    packet.l3_offset = 14;
    packet.l4_offset = 34;
    packet.ip_length = 44;
    packet.in_ifindex = 2;
    context.packet = &packet;
    context.services = &services;
  }
  std::string_view line(std::string_view prefix, std::uint32_t flags) {
    return log_line(context, prefix, flags, space);
  }
  std::array<std::uint8_t, sizeof kSyn> frame;
  std::array<char, kLogLineMax> space;
  packet::Packet packet;
  Services services;
  Context context;
};

TEST_F(LogText, ReadsAsTheKernelsLine) {
  EXPECT_EQ(line("hello: ", 0),
            "hello: IN= OUT= MAC=02:00:00:00:00:01:02:00:00:00:00:02:08:00 SRC=192.0.2.1 "
            "DST=198.51.100.2 LEN=44 TOS=0x00 PREC=0x00 TTL=64 ID=7 DF PROTO=TCP SPT=1234 DPT=80 "
            "WINDOW=29200 RES=0x00 SYN URGP=0 ");
}

TEST_F(LogText, TellsMoreWhenAsked) {
  packet.mark = 0x1f;
  const std::string text(line("", NF_LOG_TCPSEQ | NF_LOG_TCPOPT | NF_LOG_MACDECODE));
  EXPECT_NE(text.find("MACSRC=02:00:00:00:00:02 MACDST=02:00:00:00:00:01 MACPROTO=0800 "),
            text.npos);
  EXPECT_NE(text.find("SEQ=1 ACK=0 WINDOW"), text.npos);
  EXPECT_NE(text.find("URGP=0 OPT (020405B4) MARK=0x1f "), text.npos);
}

TEST_F(LogText, TruncatedHeadersAreSaidToBeAndNeverReadPast) {
  for (std::uint16_t bytes = 0; bytes < 44; ++bytes) {
    packet.ip_length = bytes;
    packet.length = 14u + bytes;
    const std::string text(line("", 0x2f));
    const bool is_cut = text.find("INCOMPLETE") != text.npos || text.find("TRUNCATED") != text.npos;
    EXPECT_TRUE(is_cut) << bytes << ": " << text;
  }
}

TEST_F(LogText, LinesThatAreTooLongAreCut) {
  std::array<char, 40> small;
  EXPECT_EQ(log_line(context, "prefix", 0, small).size(), small.size());
}

}  // namespace
}  // namespace weir::rules
