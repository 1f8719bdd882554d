#include "pipeline/log_invalid.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "conntrack/proto/step.h"
#include "conntrack/test_packet.h"
#include "rules/log_sink.h"
#include "wire/protocol.h"

namespace weir::pipeline {
namespace {

using conntrack::Reason;

struct Lines final : rules::LogSink {
  void log(int level, std::string_view line) override {
    levels.push_back(level);
    lines.emplace_back(line);
  }
  std::vector<int> levels;
  std::vector<std::string> lines;
};

struct LogInvalid : testing::Test {
  LogInvalid() {
    services.log = &log;
    context.services = &services;
    context.packet = &udp;
    udp.ct.reason = static_cast<std::uint8_t>(Reason::bad_checksum);
  }
  /// How many lines there are with the knob at this value.
  std::size_t lines_with(std::uint32_t log_invalid) {
    sysctl.log_invalid.set(log_invalid);
    log.lines.clear();
    pipeline::log_invalid(context, sysctl);
    return log.lines.size();
  }

  conntrack::TestPacket udp{wire::FrameSpec{}};
  conntrack::Sysctl sysctl;
  Lines log;
  rules::Services services;
  rules::Context context;
};

TEST_F(LogInvalid, SaysWhyAndWhat) {
  ASSERT_EQ(lines_with(255), 1u);
  EXPECT_EQ(log.levels.at(0), 4);
  EXPECT_TRUE(log.lines.at(0).starts_with("nf_ct_proto_17: the transport checksum is wrong IN="))
      << log.lines.at(0);
  EXPECT_NE(log.lines.at(0).find("SRC=192.0.2.1 DST=198.51.100.1 "), std::string::npos);
  EXPECT_NE(log.lines.at(0).find("PROTO=UDP SPT=1000 DPT=2000 "), std::string::npos);
}

TEST_F(LogInvalid, TheKnobChoosesOneProtocolOrAllOrNone) {
  EXPECT_EQ(lines_with(0), 0u);
  EXPECT_EQ(lines_with(wire::protocol::kUdp), 1u);
  EXPECT_EQ(lines_with(wire::protocol::kTcp), 0u);
  EXPECT_EQ(lines_with(255), 1u);
}

TEST_F(LogInvalid, APacketThatIsRightIsNoLine) {
  udp.ct.reason = 0;
  EXPECT_EQ(lines_with(255), 0u);
}

TEST_F(LogInvalid, WithoutALogNothingIsWritten) {
  services.log = nullptr;
  EXPECT_EQ(lines_with(255), 0u);
}

/// A line is cut, never beyond its room: every text fits into the prefix.
TEST_F(LogInvalid, EveryReasonIsToldInFull) {
  for (std::size_t reason = 1; reason < conntrack::kReasonTexts.size(); ++reason) {
    udp.ct.reason = static_cast<std::uint8_t>(reason);
    ASSERT_EQ(lines_with(255), 1u);
    const std::string begin = "nf_ct_proto_17: " + std::string(conntrack::kReasonTexts[reason]);
    EXPECT_TRUE(log.lines.at(0).starts_with(begin + " IN=")) << log.lines.at(0);
  }
}

}  // namespace
}  // namespace weir::pipeline
