#include "conntrack/proto/dccp.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "conntrack/status.h"

namespace weir::conntrack {
namespace {

using namespace std::chrono_literals;

const TimeoutList kTimeouts{240, 480, 481, 43200, 64, 65, 241};

/// Keeps an entry as the table does.
class Connection {
 public:
  Step send(Direction from, DccpType type, std::uint64_t sequence = 0,
            std::uint64_t acknowledged = 0) {
    const Step step = state.on_packet(
        {.type = type, .sequence = sequence, .acknowledged = acknowledged},
        {.direction = from, .first = is_new_, .seen_reply = seen_reply_, .assured = assured},
        kTimeouts);
    if (step.outcome != Outcome::accept) return step;
    is_new_ = false;
    assured = assured || step.assured;
    seen_reply_ = seen_reply_ || from == Direction::reply;
    return step;
  }
  Step client(DccpType type, std::uint64_t sequence = 0, std::uint64_t acknowledged = 0) {
    return send(Direction::original, type, sequence, acknowledged);
  }
  Step server(DccpType type, std::uint64_t sequence = 0) {
    return send(Direction::reply, type, sequence);
  }

  DccpState state{};
  bool assured = false;

 private:
  bool is_new_ = true;
  bool seen_reply_ = false;
};

Connection opened() {
  Connection connection;
  connection.client(DccpType::request, 1);
  connection.server(DccpType::response, 50);
  connection.client(DccpType::ack, 2, 50);
  connection.server(DccpType::data_ack, 51);
  return connection;
}

/// RFC 4340 section 8.1.
TEST(Dccp, TheHandshakeIsFollowedAndAssuresTheConnection) {
  Connection connection;
  EXPECT_EQ(connection.client(DccpType::request, 1).timeout, 240s);
  EXPECT_EQ(connection.state.phase, DccpPhase::request);
  EXPECT_EQ(connection.server(DccpType::response, 50).timeout, 480s);
  EXPECT_EQ(connection.state.handshake_sequence, 50u);
  EXPECT_FALSE(connection.assured);
  const Step ack = connection.client(DccpType::ack, 2, 50);
  EXPECT_EQ(ack.timeout, 481s);
  EXPECT_EQ(ack.events, event::kProtoInfo | event::kAssured);
  EXPECT_TRUE(connection.assured);
  EXPECT_EQ(connection.server(DccpType::data, 51).timeout, 43200s);
  EXPECT_EQ(connection.state.phase, DccpPhase::open);
}

TEST(Dccp, AnAckOfAnotherResponseDoesNotAssure) {
  Connection connection;
  connection.client(DccpType::request, 1);
  connection.server(DccpType::response, 50);
  EXPECT_EQ(connection.client(DccpType::ack, 2, 49).outcome, Outcome::accept);
  EXPECT_EQ(connection.state.phase, DccpPhase::partopen);
  EXPECT_FALSE(connection.assured);
}

TEST(Dccp, OnlyARequestBegins) {
  for (int type = 1; type < 10; ++type) {
    Connection connection;
    const Step step = connection.client(static_cast<DccpType>(type));
    EXPECT_EQ(step.outcome, Outcome::invalid) << type;
    EXPECT_EQ(step.reason, Reason::dccp_not_a_beginning) << type;
  }
}

TEST(Dccp, AResetThatIsTheOnlyAnswerRemovesTheEntry) {
  Connection connection;
  connection.client(DccpType::request);
  EXPECT_EQ(connection.server(DccpType::reset).outcome, Outcome::remove);
}

struct Case {
  const char* name;
  Direction from;
  DccpType type;
  Outcome outcome;
  DccpPhase phase;
};

constexpr Direction kClient = Direction::original;
constexpr Direction kServer = Direction::reply;

/// RFC 4340 sections 8.1.5, 8.3 and 7.5.4.
TEST(Dccp, WhatIsDueInAnOpenConnection) {
  static constexpr Case kCases[] = {
      {"data", kClient, DccpType::data, Outcome::accept, DccpPhase::open},
      {"ack", kServer, DccpType::ack, Outcome::accept, DccpPhase::open},
      {"only the server asks to close", kClient, DccpType::close_req, Outcome::invalid,
       DccpPhase::open},
      {"CloseReq", kServer, DccpType::close_req, Outcome::accept, DccpPhase::closereq},
      {"Close", kClient, DccpType::close, Outcome::accept, DccpPhase::closing},
      {"the server's Close", kServer, DccpType::close, Outcome::accept, DccpPhase::closing},
      {"Reset", kServer, DccpType::reset, Outcome::accept, DccpPhase::timewait},
      {"Sync passes without effect", kServer, DccpType::sync, Outcome::accept, DccpPhase::open},
      {"so does SyncAck", kClient, DccpType::sync_ack, Outcome::accept, DccpPhase::open},
      {"and a Request", kClient, DccpType::request, Outcome::accept, DccpPhase::open},
  };
  for (const Case& c : kCases) {
    Connection connection = opened();
    EXPECT_EQ(connection.send(c.from, c.type).outcome, c.outcome) << c.name;
    EXPECT_EQ(connection.state.phase, c.phase) << c.name;
  }
}

/// Section 8.3: a Close is repeated until it is answered.
TEST(Dccp, ARepeatedCloseIsDue) {
  Connection connection = opened();
  connection.server(DccpType::close_req);
  EXPECT_EQ(connection.client(DccpType::close).timeout, 65s);
  EXPECT_EQ(connection.client(DccpType::close).outcome, Outcome::accept);
  EXPECT_EQ(connection.server(DccpType::reset).timeout, 241s);
  const Step late = connection.server(DccpType::reset);
  EXPECT_EQ(late.outcome, Outcome::accept);
  EXPECT_FALSE(late.timeout);
}

TEST(Dccp, DataBeforeTheServerHasSpokenAreInvalid) {
  Connection connection;
  connection.client(DccpType::request, 1);
  connection.server(DccpType::response, 50);
  connection.client(DccpType::ack, 2, 50);
  EXPECT_EQ(connection.client(DccpType::data, 3).reason, Reason::dccp_state);
  EXPECT_EQ(connection.client(DccpType::data_ack, 4, 50).outcome, Outcome::accept);
}

/// Client and server have begun anew without our noticing.
TEST(Dccp, AResponseToAnIgnoredRequestIsBelieved) {
  Connection connection = opened();
  const Step ignored = connection.client(DccpType::request, 900);
  EXPECT_EQ(ignored.reason, Reason::dccp_ignored_in_state);
  EXPECT_FALSE(ignored.timeout);
  EXPECT_FALSE(ignored.counted);
  EXPECT_EQ(connection.server(DccpType::response, 950).timeout, 480s);
  EXPECT_EQ(connection.state.phase, DccpPhase::respond);
  EXPECT_EQ(connection.state.handshake_sequence, 950u);
}

TEST(Dccp, AfterTheEndTheServerMayCallBack) {
  Connection connection = opened();
  connection.server(DccpType::reset);
  EXPECT_EQ(connection.server(DccpType::request, 5).timeout, 240s);
  EXPECT_EQ(connection.state.client, Direction::reply);
  EXPECT_EQ(connection.client(DccpType::response, 6).timeout, 480s);
}

std::vector<std::uint8_t> header(DccpType type, std::uint8_t words, bool is_long = true,
                                 std::uint8_t coverage = 0) {
  std::vector<std::uint8_t> bytes(words * 4u);
  bytes[4] = words;
  bytes[5] = coverage;
  bytes[8] = static_cast<std::uint8_t>(static_cast<unsigned>(type) << 1 | (is_long ? 1 : 0));
  return bytes;
}

/// Sections 5.1 to 5.6.
TEST(Dccp, HeadersThatDontFitTheirTypeAreRefused) {
  EXPECT_TRUE(DccpHeader::read(header(DccpType::request, 5)));
  EXPECT_EQ(DccpHeader::read(header(DccpType::request, 4)).error(), Reason::dccp_header);
  EXPECT_TRUE(DccpHeader::read(header(DccpType::response, 7)));
  EXPECT_EQ(DccpHeader::read(header(DccpType::response, 6)).error(), Reason::dccp_header);
  EXPECT_TRUE(DccpHeader::read(header(DccpType::data, 3, false)));
  EXPECT_TRUE(DccpHeader::read(header(DccpType::ack, 4, false)));
  EXPECT_EQ(DccpHeader::read(header(DccpType::ack, 3, false)).error(), Reason::dccp_header);
  EXPECT_EQ(DccpHeader::read(header(DccpType::close, 6, false)).error(), Reason::dccp_header);
  EXPECT_EQ(DccpHeader::read(header(static_cast<DccpType>(10), 6)).error(), Reason::dccp_type);
  std::vector<std::uint8_t> cut = header(DccpType::data, 4);
  cut.pop_back();
  EXPECT_EQ(DccpHeader::read(cut).error(), Reason::truncated);
  cut.resize(11);
  EXPECT_EQ(DccpHeader::read(cut).error(), Reason::truncated);
}

TEST(Dccp, NumbersAreReadInBothForms) {
  std::vector<std::uint8_t> bytes = header(DccpType::ack, 6);
  for (std::size_t i = 10; i < 24; ++i) bytes[i] = static_cast<std::uint8_t>(i);
  EXPECT_EQ(DccpHeader::read(bytes)->sequence, 0x0a0b0c0d0e0full);
  EXPECT_EQ(DccpHeader::read(bytes)->acknowledged, 0x121314151617ull);
  bytes = header(DccpType::ack, 4, false);
  for (std::size_t i = 9; i < 16; ++i) bytes[i] = static_cast<std::uint8_t>(i);
  EXPECT_EQ(DccpHeader::read(bytes)->sequence, 0x090a0bull);
  EXPECT_EQ(DccpHeader::read(bytes)->acknowledged, 0x0d0e0full);
}

/// Section 9.2.
TEST(Dccp, TheChecksumCoversHeaderAndSoManyWordsOfPayload) {
  std::vector<std::uint8_t> bytes = header(DccpType::data, 4);
  bytes.resize(16 + 10);
  EXPECT_EQ(DccpHeader::read(bytes)->covered_bytes, 26u);
  bytes[5] = 1;
  EXPECT_EQ(DccpHeader::read(bytes)->covered_bytes, 16u);
  bytes[5] = 3;
  EXPECT_EQ(DccpHeader::read(bytes)->covered_bytes, 24u);
  bytes[5] = 4;
  EXPECT_EQ(DccpHeader::read(bytes).error(), Reason::checksum_coverage);
}

}  // namespace
}  // namespace weir::conntrack
