#include "conntrack/proto/udp.h"

#include <gtest/gtest.h>

#include "conntrack/status.h"

namespace weir::conntrack {
namespace {

using namespace std::chrono_literals;

constexpr Time kStart = Time(1000s);
const TimeoutList kTimeouts{30, 120};

UdpState started() {
  UdpState state;
  state.on_packet({.now = kStart, .first = true}, kTimeouts);
  return state;
}

TEST(Udp, AFlowIsAStreamOnceItIsAnsweredAndStillInUseAfterTwoSeconds) {
  struct Case {
    const char* what;
    Duration after;
    bool seen_reply;
    bool is_stream;
  };
  const Case cases[] = {
      {"unanswered, however long", 25s, false, false},
      {"a quick answer", 10ms, true, false},
      {"answered, at two seconds exactly", 2s, true, false},
      {"answered, just after two seconds", 2s + 1ns, true, true},
      {"answered long ago", 29s, true, true},
  };
  for (const Case& c : cases) {
    const Step step =
        started().on_packet({.now = kStart + c.after, .seen_reply = c.seen_reply}, kTimeouts);
    EXPECT_EQ(step.outcome, Outcome::accept) << c.what;
    EXPECT_EQ(step.timeout, c.is_stream ? 120s : 30s) << c.what;
    EXPECT_EQ(step.assured, c.is_stream) << c.what;
    EXPECT_EQ(step.events, c.is_stream ? event::kAssured : 0) << c.what;
  }
}

TEST(Udp, BecomingAssuredIsToldOnce) {
  const Step step =
      started().on_packet({.now = kStart + 9s, .seen_reply = true, .assured = true}, kTimeouts);
  EXPECT_TRUE(step.assured);
  EXPECT_EQ(step.events, 0u);
}

TEST(Udp, TheLengthFieldMustFitThePacket) {
  struct Case {
    std::size_t bytes;
    std::uint8_t length;
    Reason reason;
  };
  const Case cases[] = {
      {0, 8, Reason::truncated},  {7, 8, Reason::truncated},  {8, 8, Reason::none},
      {8, 7, Reason::udp_length}, {8, 0, Reason::udp_length}, {8, 9, Reason::udp_length},
      {20, 12, Reason::none},  // Padding.
  };
  for (const Case& c : cases) {
    std::vector<std::uint8_t> header(c.bytes);
    if (c.bytes > 5) header[5] = c.length;
    EXPECT_EQ(check_udp(header), c.reason) << c.bytes << " bytes that claim " << int{c.length};
  }
}

}  // namespace
}  // namespace weir::conntrack
