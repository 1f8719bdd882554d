#include "conntrack/proto/tcp.h"

#include <gtest/gtest.h>
#include <linux/netfilter/nf_conntrack_common.h>

#include <charconv>
#include <sstream>
#include <string>
#include <vector>

#include "conntrack/proto/tcp_window.h"

namespace weir::conntrack {
namespace {

using namespace std::chrono_literals;

// An exchange is a list of lines, one segment each, with what must come of it behind ">":
//
//   c SA 1000 a5001 +100 w8192 ws7 sackok sack6000-7000 wait30 > ESTABLISHED 432000 assured
//
// from client or server; flags of S A F R P U; sequence number; then in any order: acknowledgment
// number, payload bytes, window (default 65535), window scale, SACK permitted, a SACK block,
// seconds to wait before. Expected: the phase afterwards, or invalid, ignored, reopen, remove; the
// timeout in seconds
// ("keep" when it stays); "assured" when it becomes so. What isn't said isn't compared, but the
// phase's event is, always.

std::uint32_t number(std::string_view text) {
  std::uint32_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

struct Line {
  Direction from = Direction::original;
  TcpSegment segment{.window = 65535};
  std::vector<std::uint8_t> options;
  Duration wait{};
  std::string outcome;
  std::string timeout;
  bool assured = false;
};

void read_flags(std::string_view text, TcpSegment& segment) {
  for (const char c : text) {
    segment.flags |= c == 'S'   ? TcpSegment::kSyn
                     : c == 'A' ? TcpSegment::kAck
                     : c == 'F' ? TcpSegment::kFin
                     : c == 'R' ? TcpSegment::kRst
                     : c == 'P' ? TcpSegment::kPsh
                                : TcpSegment::kUrg;
  }
}

void read_extra(const std::string& word, Line& line) {
  const auto rest = [&](std::size_t skip) { return number(std::string_view(word).substr(skip)); };
  if (word == "sackok") {
    line.options.insert(line.options.end(), {4, 2});
  } else if (word.starts_with("sack")) {
    line.options.insert(line.options.end(), {1, 1, 5, 10});
    for (const std::uint32_t edge : {rest(4), rest(word.find('-') + 1)}) {
      for (int shift = 24; shift >= 0; shift -= 8) {
        line.options.push_back(static_cast<std::uint8_t>(edge >> shift));
      }
    }
  } else if (word.starts_with("wait")) {
    line.wait = std::chrono::seconds(rest(4));
  } else if (word.starts_with("ws")) {
    line.options.insert(line.options.end(), {3, 3, static_cast<std::uint8_t>(rest(2))});
  } else if (word[0] == 'w') {
    line.segment.window = static_cast<std::uint16_t>(rest(1));
  } else if (word[0] == 'a') {
    line.segment.ack = rest(1);
  } else if (word[0] == '+') {
    line.segment.payload_bytes = rest(1);
  } else {
    ADD_FAILURE() << "what is " << word;
  }
}

Line parse(const std::string& text) {
  Line line;
  std::istringstream words(text);
  std::string who, flags, seq, word;
  words >> who >> flags >> seq;
  line.from = who == "c" ? Direction::original : Direction::reply;
  read_flags(flags, line.segment);
  line.segment.seq = number(seq);
  while (words >> word && word != ">") read_extra(word, line);
  words >> line.outcome;
  while (words >> word) {
    if (word == "assured") {
      line.assured = true;
    } else {
      line.timeout = word;
    }
  }
  return line;
}

/// Keeps an entry as the table does.
class Connection {
 public:
  Sysctl sysctl;
  TcpState state;
  bool fixed_timeout = false;

  Step send(const Line& line) {
    now_ += line.wait;
    TcpSegment segment = line.segment;
    segment.options = line.options;
    const Step step = state.on_packet(segment,
                                      {.now = now_,
                                       .direction = line.from,
                                       .first = is_new_,
                                       .seen_reply = seen_reply_,
                                       .assured = assured_,
                                       .fixed_timeout = fixed_timeout,
                                       .expires_in = deadline_ - now_},
                                      {sysctl.tcp, sysctl.tcp_knobs});
    if (step.outcome != Outcome::invalid) is_new_ = false;
    if (step.timeout) deadline_ = now_ + *step.timeout;
    assured_ = assured_ || step.assured;
    if (line.from == Direction::reply && step.outcome == Outcome::accept) seen_reply_ = true;
    return step;
  }

  Step send(const std::string& line) { return send(parse(line)); }

  void play(const std::vector<std::string>& lines) {
    for (const std::string& text : lines) {
      SCOPED_TRACE(text);
      const Line line = parse(text);
      const TcpPhase before = state.phase;
      expect(line, send(line), before);
    }
  }

 private:
  void expect(const Line& line, const Step& step, TcpPhase before) {
    std::string outcome = to_string(state.phase);
    if (step.outcome == Outcome::invalid) outcome = "invalid";
    if (step.outcome == Outcome::reopen) outcome = "reopen";
    if (step.outcome == Outcome::remove) outcome = "remove";
    if (step.outcome == Outcome::accept && step.reason != Reason::none) outcome = "ignored";
    EXPECT_EQ(outcome, line.outcome) << kReasonTexts[static_cast<std::size_t>(step.reason)];
    EXPECT_EQ(step.assured, line.assured);
    EXPECT_EQ((step.events >> IPCT_ASSURED & 1) != 0, line.assured);
    EXPECT_EQ((step.events >> IPCT_PROTOINFO & 1) != 0, state.phase != before);
    const std::string timeout =
        step.timeout ? std::to_string(
                           std::chrono::duration_cast<std::chrono::seconds>(*step.timeout).count())
                     : "keep";
    if (!line.timeout.empty()) {
      EXPECT_EQ(timeout, line.timeout);
    }
  }

  Time now_{1000s};
  Time deadline_{1000s};
  bool is_new_ = true;
  bool seen_reply_ = false;
  bool assured_ = false;
};

const std::vector<std::string> kHandshake = {
    "c S  1000       > SYN_SENT 120",
    "s SA 5000 a1001 > SYN_RECV 60",
    "c A  1001 a5001 > ESTABLISHED 432000 assured",
};

Connection established(TcpKnobs knobs = {}) {
  Connection connection;
  connection.sysctl.tcp_knobs = knobs;
  connection.play(kHandshake);
  return connection;
}

struct Exchange {
  const char* name;
  std::vector<std::string> lines;
  bool after_handshake = true;
};

class TcpExchange : public testing::TestWithParam<Exchange> {};

TEST_P(TcpExchange, Plays) {
  Connection connection;
  if (GetParam().after_handshake) connection.play(kHandshake);
  connection.play(GetParam().lines);
}

const Exchange kExchanges[] = {
    // RFC 9293 section 3.6, figure 12: the normal close, begun by either side.
    {"CloseByClient",
     {"c FA 1001 a5001 > FIN_WAIT 120", "s A 5001 a1002 > CLOSE_WAIT 60",
      "s FA 5001 a1002 > LAST_ACK 30", "c A 1002 a5002 > TIME_WAIT 120",
      "c A 1002 a5002 > TIME_WAIT 120"}},
    {"CloseByServer",
     {"s FA 5001 a1001 > FIN_WAIT 120", "c A 1001 a5002 > CLOSE_WAIT 60",
      "c FA 1001 a5002 > LAST_ACK 30", "s A 5002 a1002 > TIME_WAIT 120"}},
    // Figure 13: both at once; then a repeated FIN.
    {"SimultaneousClose",
     {"c FA 1001 a5001 > FIN_WAIT", "s FA 5001 a1001 > LAST_ACK", "s FA 5001 a1001 > LAST_ACK",
      "c A 1002 a5002 > TIME_WAIT"}},
    {"DataAfterHalfClose",
     {"c FA 1001 a5001 > FIN_WAIT", "s A 5001 a1002 +1000 > CLOSE_WAIT",
      "s A 6001 a1002 +1000 > CLOSE_WAIT"}},

    // Figure 8: simultaneous open.
    {"SimultaneousOpen",
     {"c S 1000 > SYN_SENT", "s S 5000 > SYN_SENT2 keep", "c SA 1000 a5001 > SYN_RECV",
      "s SA 5000 a1001 > ignored", "c A 1001 a5001 > ESTABLISHED 432000 assured"},
     false},
    {"SimultaneousOpenConfirmedByServer",
     {"c S 1000 > SYN_SENT", "s S 5000 > SYN_SENT2", "s SA 5000 a1001 > SYN_RECV",
      "s A 5001 a1001 > ESTABLISHED 432000 assured"},
     false},
    {"RepeatedSynKeepsTheDeadline",
     {"c S 1000 > SYN_SENT 120", "c S 1000 wait3 > SYN_SENT keep",
      "c S 1000 wait6 > SYN_SENT keep"},
     false},
    {"SynWithOtherNumberBeginsAnew",
     {"c S 1000 > SYN_SENT", "c S 90000000 > SYN_SENT", "s SA 5000 a90000001 > SYN_RECV",
      "c A 90000001 a5001 > ESTABLISHED assured"},
     false},
    {"SynRefused", {"c S 1000 > SYN_SENT", "s RA 0 a1001 > remove"}, false},
    {"ResetAfterSynAck",
     {"c S 1000 > SYN_SENT", "s SA 5000 a1001 > SYN_RECV", "c R 1001 > CLOSE 10"},
     false},
    {"SynAckRepeatedIsIgnored", {"s SA 5000 a1001 > ignored keep", "c A 1001 a5001 > ESTABLISHED"}},
    {"AckBeforeSynAck", {"c S 1000 > SYN_SENT", "c A 1001 a5001 > invalid"}, false},
    {"FinBeforeSynAck", {"c S 1000 > SYN_SENT", "c FA 1001 a1 > invalid"}, false},
    {"ServerSynInEstablished", {"s S 7000 > invalid"}},
    {"ClientSynAckInEstablished", {"c SA 1000 a5001 > invalid"}},

    // What can't begin a connection.
    {"SynAckBegins", {"c SA 1000 a5001 > invalid"}, false},
    {"FinBegins", {"c FA 1000 a5001 > invalid"}, false},
    {"RstBegins", {"c R 1000 > invalid"}, false},

    // Picked up in the middle (nf_conntrack_tcp_loose): short timeout until the other side answers,
    // and windows are not judged since the scaling is unknown.
    {"PickUp",
     {"c A 1000 a5000 +100 > ESTABLISHED 300", "s A 5000 a1100 > ESTABLISHED 300",
      "c A 1100 a5000 > ESTABLISHED 432000 assured", "c A 900001100 a5000 +10 > ESTABLISHED"},
     false},

    // RFC 5961 section 4: a SYN inside a connection passes; the peer's challenge ACK changes
    // nothing.
    {"SynInEstablishedThenChallengeAck",
     {"c S 9000 > ignored keep", "s A 5001 a1001 > ESTABLISHED",
      "c A 1001 a5001 +10 > ESTABLISHED"}},
    // The client has forgotten the connection: its RST to the challenge ACK ends it.
    {"SynInEstablishedThenReset",
     {"c S 9000 > ignored", "s A 5001 a1001 > ESTABLISHED", "c R 1001 > CLOSE 10"}},
    // The server has forgotten it as well: its SYN/ACK to the ignored SYN proves the new
    // connection.
    {"IgnoredSynWasRight",
     {"c S 9000 ws7 sackok > ignored keep", "s SA 70000 a9001 ws7 sackok > SYN_RECV 60",
      "c A 9001 a70001 > ESTABLISHED", "c A 9001 a70001 +500 > ESTABLISHED"}},
    // The server refuses the ignored SYN.
    {"IgnoredSynWasRefused", {"c S 9000 > ignored", "s RA 0 a9001 > CLOSE 10"}},
    {"ChallengeAckInLastAck",
     {"c FA 1001 a5001 > FIN_WAIT", "s FA 5001 a1002 > LAST_ACK", "c S 9000 > ignored",
      "s A 5002 a1002 > ignored keep", "c A 1002 a5002 > TIME_WAIT"}},
    // A half-open server answers our SYN with the old connection's ACK; the client resets it.
    {"HalfOpenServer",
     {"c S 1000 > SYN_SENT", "s A 777 a333 > ignored keep", "c R 333 > CLOSE 10",
      "c S 1000 > reopen"},
     false},

    // RFC 1122 section 4.2.2.13.
    {"ReopenTimeWait",
     {"c FA 1001 a5001 > FIN_WAIT", "s FA 5001 a1002 > LAST_ACK", "c A 1002 a5002 > TIME_WAIT",
      "c S 90000 > reopen"}},
    {"ReopenTimeWaitByServer",
     {"c FA 1001 a5001 > FIN_WAIT", "s FA 5001 a1002 > LAST_ACK", "c A 1002 a5002 > TIME_WAIT",
      "s S 90000 > reopen"}},
    {"ReopenOwnReset", {"c R 1001 > CLOSE 10", "c S 90000 > reopen"}},
    {"PeersResetLetsSynThroughOnly", {"s R 5001 > CLOSE 10", "c S 90000 > ignored"}},
    {"PeersResetThenSynAnswered",
     {"s R 5001 > CLOSE 10", "c S 90000 > ignored", "s SA 800 a90001 > SYN_RECV",
      "c A 90001 a801 > ESTABLISHED"}},
    {"SynInLastAckIsIgnored",
     {"c FA 1001 a5001 > FIN_WAIT", "s FA 5001 a1002 > LAST_ACK", "c S 90000 > ignored"}},

    // RFC 5961 section 3.2.
    {"ResetAtExpectedNumber", {"s R 5001 > CLOSE 10"}},
    {"ResetBelowIsInvalid", {"s R 5000 > invalid", "c A 1001 a5001 > ESTABLISHED"}},
    // Above, but in the window: a challenge ACK may follow, so the connection stays, for a while.
    {"ResetAboveKeepsState", {"s R 5100 > ESTABLISHED 10", "c A 1001 a5001 > ESTABLISHED 300"}},
    {"ResetBeyondWindow", {"s R 900005001 > invalid"}},
    // Part of a train: data and RST sent together, the ACK of the data still to come.
    {"ResetAfterOwnData", {"s A 5001 a1001 +19 > ESTABLISHED", "s RA 5020 a1001 > CLOSE 10"}},
    {"ResetWhileClosingNeedsNoWindow", {"c FA 1001 a5001 > FIN_WAIT", "s R 77 > CLOSE 10"}},

    // Windows.
    {"DataBeyondWindow", {"c A 70001001 a5001 +100 > invalid keep"}},
    {"AckOfUnseenData", {"c A 1001 a5002 > invalid"}},
    {"OldDataRepeated",
     {"c A 1001 a5001 +60000 > ESTABLISHED", "s A 5001 a61001 > ESTABLISHED",
      "c A 61001 a5001 +60000 > ESTABLISHED", "s A 5001 a121001 > ESTABLISHED",
      "c A 1001 a5001 +100 > ignored keep"}},
    {"KeepAlive", {"c A 1000 a5001 > ESTABLISHED", "s A 5001 a1001 > ESTABLISHED"}},
    // A little more than the window: it passes, and its ACK is no surprise.
    {"Overshoot",
     {"c A 1001 a5001 +60000 > ESTABLISHED", "c A 61001 a5001 +5535 > ESTABLISHED",
      "c A 66537 a5001 +50 > ignored", "s A 5001 a66587 > ESTABLISHED"}},
    {"AckFarTooOld",
     {"c A 1001 a5001 +60000 > ESTABLISHED", "s A 5001 a61001 > ESTABLISHED",
      "c A 61001 a5001 +60000 > ESTABLISHED", "s A 5001 a121001 > ESTABLISHED",
      "s A 5001 a1001 > ignored"}},

    // Timeouts of connections that seem stuck.
    {"UnacknowledgedData",
     {"c A 1001 a5001 +100 > ESTABLISHED 300", "s A 5001 a1101 > ESTABLISHED 432000"}},
    {"ClosedWindow",
     {"s A 5001 a1001 w0 > ESTABLISHED 300", "s A 5001 a1001 w1000 > ESTABLISHED 432000"}},
};

INSTANTIATE_TEST_SUITE_P(Tcp, TcpExchange, testing::ValuesIn(kExchanges),
                         [](const auto& info) { return info.param.name; });

TEST(Tcp, RetransmissionsShortenTheTimeout) {
  Connection connection = established();
  connection.play({"c A 1001 a5001 +100 > ESTABLISHED 300", "c A 1001 a5001 +100 > ESTABLISHED 300",
                   "c A 1001 a5001 +100 > ESTABLISHED 300"});
  connection.sysctl.tcp.at(timeout::kTcpUnacknowledged).set(400);
  connection.sysctl.tcp.at(timeout::kTcpRetransmitted).set(200);
  connection.play({"c A 1001 a5001 +100 > ESTABLISHED 200"});  // The third repetition.
  connection.play({"s A 5001 a1101 > ESTABLISHED 432000"});
}

TEST(Tcp, LooseOffDoesNotPickUp) {
  Connection connection;
  connection.sysctl.tcp_knobs.loose.set(0);
  EXPECT_EQ(connection.send("c A 1000 a5000").reason, Reason::tcp_loose_off);
  connection.play({"c S 1000 > SYN_SENT"});
}

TEST(Tcp, LiberalPassesWhatIsOutside) {
  Connection connection = established({.be_liberal = 1});
  connection.play({"c A 70001001 a5001 +100 > ESTABLISHED", "c A 1001 a99005001 > ESTABLISHED"});
}

// What passes only because the connection is liberal teaches nothing about windows.
TEST(Tcp, LiberalDoesNotLearnFromOutside) {
  Connection connection = established({.be_liberal = 1});
  const TcpState before = connection.state;
  connection.play({"c A 70001001 a5001 +100 > ESTABLISHED 432000",
                   "s A 5001 a99001001 w9 > ESTABLISHED 432000"});
  EXPECT_EQ(connection.state.sides[0].end, before.sides[0].end);
  EXPECT_EQ(connection.state.sides[1].max_ack, before.sides[1].max_ack);
  EXPECT_EQ(connection.state.sides[0].max_end, before.sides[0].max_end);
}

TEST(Tcp, LiberalFlagOfOneSideOnly) {
  Connection connection = established();
  connection.state.set_flags(Direction::original, TcpSide::kBeLiberal, TcpSide::kBeLiberal);
  connection.play({"c A 70001001 a5001 +100 > ESTABLISHED", "s A 70005001 a1001 +100 > invalid"});
}

TEST(Tcp, IgnoreInvalidRstJudgesByWindowOnly) {
  Connection connection = established({.ignore_invalid_rst = 1});
  connection.play({"s R 5000 > ESTABLISHED 10"});
}

// RFC 7323 section 2.2: scales count when both sides have sent one, and never in a SYN.
TEST(Tcp, WindowScale) {
  Connection connection;
  connection.play({"c S 1000 w1000 ws7 > SYN_SENT", "s SA 5000 a1001 w1000 ws3 > SYN_RECV"});
  EXPECT_EQ(connection.state.sides[1].max_win, 1000U);
  connection.play(
      {"c A 1001 a5001 w1000 > ESTABLISHED assured", "s A 5001 a1001 w1000 > ESTABLISHED"});
  EXPECT_EQ(connection.state.sides[0].max_win, 128000U);
  EXPECT_EQ(connection.state.sides[1].max_win, 8000U);
  connection.play({"s A 5001 a1001 +64000 > ESTABLISHED", "s A 69001 a1001 +64000 > ESTABLISHED",
                   "s A 133002 a1001 +300000 > invalid keep"});
}

TEST(Tcp, ScaleOfOneSideDoesNotCount) {
  Connection connection;
  connection.play({"c S 1000 ws7 > SYN_SENT", "s SA 5000 a1001 > SYN_RECV"});
  EXPECT_EQ(connection.state.scales[0], 0);
}

TEST(Tcp, ScaleIsAtMost14) {
  Connection connection;
  connection.play({"c S 1000 ws200 > SYN_SENT", "s SA 5000 a1001 ws15 > SYN_RECV"});
  EXPECT_EQ(connection.state.scales[0], 14);
  EXPECT_EQ(connection.state.scales[1], 14);
}

// RFC 2018: with SACK the right edge of the highest block is what the peer has surely sent.
TEST(Tcp, SackIsCheckedAndWidensTheWindow) {
  Connection connection;
  connection.play({"c S 1000 sackok > SYN_SENT", "s SA 5000 a1001 sackok > SYN_RECV",
                   "c A 1001 a5001 > ESTABLISHED assured", "c A 1001 a5001 +1000 > ESTABLISHED",
                   "c A 2001 a5001 +1000 > ESTABLISHED",
                   "s A 5001 a1001 sack2001-3001 > ESTABLISHED",
                   "s A 5001 a1001 sack2001-3002 > invalid"});
  EXPECT_EQ(connection.state.sides[0].max_end, 3001U + 65535U);
}

TEST(Tcp, SackWithoutPermissionIsNotRead) {
  Connection connection = established();
  connection.play({"s A 5001 a1001 sack2001-3002 > ESTABLISHED"});
}

TEST(Tcp, SequenceNumbersWrap) {
  Connection connection;
  connection.play({"c S 4294967290 > SYN_SENT", "s SA 4294967295 a4294967291 > SYN_RECV",
                   "c A 4294967291 a0 > ESTABLISHED assured",
                   "c A 4294967291 a0 +1000 > ESTABLISHED", "s A 0 a995 > ESTABLISHED",
                   "c A 995 a0 +1000 > ESTABLISHED", "s A 0 a1995 > ESTABLISHED 432000"});
}

// A segmentation-offload packet counts with its whole length.
TEST(Tcp, BigSegments) {
  Connection connection;
  connection.play({"c S 1000 ws7 > SYN_SENT", "s SA 5000 a1001 ws7 > SYN_RECV",
                   "c A 1001 a5001 > ESTABLISHED assured", "s A 5001 a1001 w2000 > ESTABLISHED",
                   "c A 1001 a5001 +64000 > ESTABLISHED", "c A 65001 a5001 +64000 > ESTABLISHED",
                   "s A 5001 a129001 w2000 > ESTABLISHED 432000"});
}

// Both ends of an established connection were refused: it is given the unacknowledged timeout.
TEST(Tcp, RefusedEndsShortenTheTimeout) {
  Connection connection = established();
  connection.play({"c FA 900001001 a5001 > invalid keep", "s R 900005001 > invalid 300"});
}

TEST(Tcp, FixedTimeoutStays) {
  Connection connection = established();
  connection.fixed_timeout = true;
  connection.play({"c FA 900001001 a5001 > invalid keep", "s R 900005001 > invalid keep"});
}

TEST(Tcp, IgnoredAndRepeatedSynsDoNotCount) {
  Connection connection;
  EXPECT_TRUE(connection.send("c S 1000").counted);
  EXPECT_FALSE(connection.send("c S 1000").counted);
  connection.play({"s SA 5000 a1001 > SYN_RECV", "c A 1001 a5001 > ESTABLISHED assured"});
  EXPECT_FALSE(connection.send("c S 90000").counted);
  EXPECT_TRUE(connection.send("c A 1001 a5001").counted);
}

TEST(Tcp, SetScalesOnlyWhereBothScale) {
  Connection plain = established();
  plain.state.set_scales(3, 4);
  EXPECT_EQ(plain.state.scales[1], 0);

  Connection scaling;
  scaling.play({"c S 1000 ws7 > SYN_SENT", "s SA 5000 a1001 ws7 > SYN_RECV"});
  scaling.state.set_scales(3, 4);
  EXPECT_EQ(scaling.state.scales[0], 3);
  EXPECT_EQ(scaling.state.scales[1], 4);
}

std::vector<std::uint8_t> header(std::uint8_t flags, std::uint8_t words = 5,
                                 std::size_t payload = 0) {
  std::vector<std::uint8_t> bytes(20 + payload);
  bytes[12] = static_cast<std::uint8_t>(words << 4);
  bytes[13] = flags;
  return bytes;
}

TEST(TcpSegment, ReadsTheHeader) {
  std::vector<std::uint8_t> bytes = header(TcpSegment::kAck | TcpSegment::kFin, 6, 4 + 10);
  bytes[7] = 9;
  bytes[11] = 8;
  bytes[15] = 7;
  const auto segment = TcpSegment::read(bytes);
  ASSERT_TRUE(segment);
  EXPECT_EQ(segment->seq, 9U);
  EXPECT_EQ(segment->ack, 8U);
  EXPECT_EQ(segment->window, 7);
  EXPECT_EQ(segment->payload_bytes, 10U);
  EXPECT_EQ(segment->options.size(), 4U);
  EXPECT_EQ(segment->end(), 9U + 10 + 1);
}

TEST(TcpSegment, Truncated) {
  const std::vector<std::uint8_t> whole = header(TcpSegment::kAck);
  EXPECT_EQ(TcpSegment::read(Bytes(whole).first(19)).error(), Reason::truncated);
  EXPECT_EQ(TcpSegment::read(header(TcpSegment::kAck, 4)).error(), Reason::truncated);
  EXPECT_EQ(TcpSegment::read(header(TcpSegment::kAck, 6, 3)).error(), Reason::truncated);
}

TEST(TcpSegment, FlagsThatNoTcpSends) {
  int valid = 0;
  for (int flags = 0; flags < 64; ++flags) {
    if ((flags & TcpSegment::kPsh) != 0) continue;
    valid += TcpSegment::read(header(static_cast<std::uint8_t>(flags))).has_value() ? 1 : 0;
  }
  EXPECT_EQ(valid, 9);
  EXPECT_FALSE(TcpSegment::read(header(0)));
  EXPECT_FALSE(TcpSegment::read(header(TcpSegment::kSyn | TcpSegment::kFin)));
  EXPECT_FALSE(TcpSegment::read(header(TcpSegment::kSyn | TcpSegment::kRst)));
  EXPECT_FALSE(TcpSegment::read(header(TcpSegment::kFin)));
  // PSH, ECE and CWR go with any.
  EXPECT_TRUE(TcpSegment::read(header(TcpSegment::kAck | TcpSegment::kPsh | 0xc0)));
}

TEST(TcpWindow, SerialNumbers) {
  EXPECT_TRUE(is_before(0xffffffff, 0));
  EXPECT_FALSE(is_before(0, 0xffffffff));
  EXPECT_FALSE(is_before(5, 5));
  EXPECT_TRUE(is_after(1, 0x80000002));
}

}  // namespace
}  // namespace weir::conntrack
