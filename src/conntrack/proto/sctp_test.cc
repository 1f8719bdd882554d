#include "conntrack/proto/sctp.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

#include "conntrack/status.h"

namespace weir::conntrack {
namespace {

using namespace std::chrono_literals;
using Type = SctpChunkType;

const TimeoutList kTimeouts{10, 3, 4, 210, 5, 6, 7, 30, 211};
constexpr Direction kClient = Direction::original;
constexpr Direction kServer = Direction::reply;
constexpr std::uint32_t kClientTag = 1000;  // What packets to the client carry.
constexpr std::uint32_t kServerTag = 2000;

struct Chunk {
  Type type;
  std::uint32_t initiate_tag = 0;  // INIT and INIT ACK.
  std::uint8_t flags = 0;
};

void put32(std::vector<std::uint8_t>& bytes, std::uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) {
    bytes.push_back(static_cast<std::uint8_t>(value >> shift));
  }
}

std::vector<std::uint8_t> packet(std::uint32_t tag, std::initializer_list<Chunk> chunks) {
  std::vector<std::uint8_t> bytes = {0x13, 0x88, 0, 80};
  put32(bytes, tag);
  put32(bytes, 0);
  for (const Chunk& chunk : chunks) {
    const bool is_init = chunk.type == Type::init || chunk.type == Type::init_ack;
    bytes.insert(bytes.end(), {static_cast<std::uint8_t>(chunk.type), chunk.flags, 0,
                               static_cast<std::uint8_t>(is_init ? 20 : 4)});
    if (!is_init) continue;
    put32(bytes, chunk.initiate_tag);
    bytes.resize(bytes.size() + 12);
  }
  return bytes;
}

/// Keeps an entry as the table does.
class Association {
 public:
  Step send(Direction from, std::uint32_t tag, std::initializer_list<Chunk> chunks) {
    const std::vector<std::uint8_t> bytes = packet(tag, chunks);
    const auto read = SctpPacket::read(bytes);
    if (!read) return {.outcome = Outcome::invalid, .reason = read.error()};
    const Step step = state.on_packet(
        *read, {.direction = from, .first = is_new_, .seen_reply = from == kServer}, kTimeouts);
    if (step.outcome == Outcome::accept) is_new_ = false;
    return step;
  }
  SctpState state{};

 private:
  bool is_new_ = true;
};

Association open_association() {
  Association association;
  association.send(kClient, 0, {{Type::init, kClientTag}});
  association.send(kServer, kClientTag, {{Type::init_ack, kServerTag}});
  association.send(kClient, kServerTag, {{Type::cookie_echo}});
  association.send(kServer, kClientTag, {{Type::cookie_ack}});
  return association;
}

/// RFC 9260 section 5.1.
TEST(Sctp, TheHandshakeIsFollowedAndAssuresTheAssociation) {
  Association association;
  EXPECT_EQ(association.send(kClient, 0, {{Type::init, kClientTag}}).timeout, 10s);
  EXPECT_EQ(association.state.phase, SctpPhase::closed);
  EXPECT_EQ(association.send(kServer, kClientTag, {{Type::init_ack, kServerTag}}).timeout, 3s);
  EXPECT_EQ(association.send(kClient, kServerTag, {{Type::cookie_echo}}).timeout, 4s);
  const Step step = association.send(kServer, kClientTag, {{Type::cookie_ack}, {Type::sack}});
  EXPECT_EQ(step.timeout, 210s);
  EXPECT_TRUE(step.assured);
  EXPECT_EQ(step.events, event::kProtoInfo | event::kAssured);
  EXPECT_EQ(association.state.phase, SctpPhase::established);
  EXPECT_EQ(association.state.tags[0], kServerTag);
  EXPECT_EQ(association.state.tags[1], kClientTag);
}

struct Move {
  Direction from;
  Type type;
  SctpPhase before;
  SctpPhase after;
};

/// Every chunk that moves an association which exists; all others leave it where it is.
TEST(Sctp, WhatMovesAnAssociation) {
  using enum SctpPhase;
  static constexpr Move kMoves[] = {
      {kClient, Type::init, shutdown_sent, closed},
      {kClient, Type::init, shutdown_recd, closed},
      {kServer, Type::init_ack, closed, cookie_wait},
      {kClient, Type::shutdown, established, shutdown_sent},
      {kServer, Type::shutdown, established, shutdown_recd},
      {kClient, Type::shutdown_ack, shutdown_sent, shutdown_ack_sent},
      {kClient, Type::shutdown_ack, shutdown_recd, shutdown_ack_sent},
      {kServer, Type::shutdown_ack, shutdown_sent, shutdown_ack_sent},
      {kServer, Type::shutdown_ack, shutdown_recd, shutdown_ack_sent},
      {kServer, Type::error, cookie_echoed, closed},
      {kClient, Type::cookie_echo, cookie_wait, cookie_echoed},
      {kServer, Type::cookie_echo, cookie_wait, cookie_echoed},
      {kClient, Type::cookie_ack, cookie_echoed, established},
      {kServer, Type::cookie_ack, cookie_echoed, established},
      {kClient, Type::shutdown_complete, shutdown_ack_sent, closed},
      {kServer, Type::shutdown_complete, shutdown_ack_sent, closed},
  };
  for (const Direction from : {kClient, kServer}) {
    for (const Type type :
         {Type::data, Type::init, Type::init_ack, Type::sack, Type::heartbeat, Type::heartbeat_ack,
          Type::abort, Type::shutdown, Type::shutdown_ack, Type::error, Type::cookie_echo,
          Type::cookie_ack, Type::shutdown_complete}) {
      for (unsigned phase = 1; phase <= 7; ++phase) {
        const auto before = static_cast<SctpPhase>(phase);
        SctpPhase after = type == Type::abort ? closed : before;
        for (const Move& move : kMoves) {
          if (move.from == from && move.type == type && move.before == before) after = move.after;
        }
        Association association = open_association();
        association.state.phase = before;
        const std::uint32_t tag = type == Type::init ? 0
                                  : from == kClient  ? kServerTag
                                                     : kClientTag;
        const std::uint32_t announced = from == kClient ? kClientTag : kServerTag;
        const Step step = association.send(from, tag, {{type, announced}});
        EXPECT_EQ(step.outcome, Outcome::accept) << static_cast<int>(type) << " in " << phase;
        EXPECT_EQ(association.state.phase, after) << static_cast<int>(type) << " in " << phase;
      }
    }
  }
}

/// Section 8.5: a packet with a wrong tag changes nothing.
TEST(Sctp, WrongTagsAreRefused) {
  for (const Type type : {Type::data, Type::sack, Type::abort, Type::shutdown, Type::error,
                          Type::cookie_echo, Type::shutdown_complete, Type::heartbeat_ack}) {
    Association association = open_association();
    const Step step = association.send(kClient, 77, {{type}});
    EXPECT_EQ(step.reason, Reason::sctp_tag) << static_cast<int>(type);
    EXPECT_EQ(association.state.phase, SctpPhase::established);
    EXPECT_EQ(association.state.tags[0], kServerTag);
  }
  Association association = open_association();
  EXPECT_EQ(association.send(kClient, kServerTag, {{Type::init, 5}}).reason, Reason::sctp_tag);
}

TEST(Sctp, ARepeatedInitNeitherProlongsNorCounts) {
  Association association;
  association.send(kClient, 0, {{Type::init, kClientTag}});
  const Step step = association.send(kClient, 0, {{Type::init, kClientTag}});
  EXPECT_EQ(step.outcome, Outcome::accept);
  EXPECT_FALSE(step.timeout);
  EXPECT_FALSE(step.counted);
}

/// Section 5.2.1.
TEST(Sctp, CrossingInitsMustBeAnsweredWithTheirOwnTags) {
  Association association;
  association.send(kClient, 0, {{Type::init, kClientTag}});
  association.send(kServer, 0, {{Type::init, kServerTag}});
  EXPECT_EQ(association.send(kServer, kClientTag, {{Type::init_ack, 2222}}).reason,
            Reason::sctp_tag);
  EXPECT_EQ(association.send(kServer, kClientTag, {{Type::init_ack, kServerTag}}).outcome,
            Outcome::accept);
}

TEST(Sctp, ChunksThatCantStandTogether) {
  const auto reason = [](std::initializer_list<Chunk> chunks) {
    const std::vector<std::uint8_t> bytes = packet(0, chunks);
    const auto read = SctpPacket::read(bytes);
    return read ? Reason::none : read.error();
  };
  EXPECT_EQ(reason({}), Reason::sctp_chunks);
  EXPECT_EQ(reason({{Type::init}}), Reason::none);
  EXPECT_EQ(reason({{Type::init}, {Type::data}}), Reason::sctp_chunks);
  EXPECT_EQ(reason({{Type::data}, {Type::init_ack}}), Reason::sctp_chunks);
  EXPECT_EQ(reason({{Type::shutdown_complete}, {Type::sack}}), Reason::sctp_chunks);
  EXPECT_EQ(reason({{Type::cookie_echo}, {Type::data}}), Reason::none);
  EXPECT_EQ(reason({{Type::data}, {Type::cookie_echo}}), Reason::sctp_chunks);
  EXPECT_EQ(reason({{Type::sack}, {Type::data}, {Type::heartbeat}}), Reason::none);

  std::vector<std::uint8_t> bytes = packet(0, {{Type::data}});
  bytes[15] = 0;  // Its length.
  EXPECT_EQ(SctpPacket::read(bytes).error(), Reason::sctp_chunks);
  bytes.resize(11);
  EXPECT_EQ(SctpPacket::read(bytes).error(), Reason::truncated);
}

TEST(Sctp, AChunkWhoseLengthReachesBeyondThePacketIsTheLast) {
  std::vector<std::uint8_t> bytes = packet(0, {{Type::sack}, {Type::data}});
  bytes[14] = 0xff;
  Bytes rest = SctpPacket::read(bytes)->chunks();
  SctpPacket::take_chunk(rest);
  EXPECT_FALSE(SctpPacket::has_chunk(rest));
}

TEST(Sctp, AnInitThatIsCutShortIsTruncated) {
  Association association;
  std::vector<std::uint8_t> bytes = packet(0, {{Type::init, 5}});
  bytes.resize(bytes.size() - 1);
  const auto read = SctpPacket::read(bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(association.state.on_packet(*read, {.first = true}, kTimeouts).reason,
            Reason::truncated);
}

}  // namespace
}  // namespace weir::conntrack
