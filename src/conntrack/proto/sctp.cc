// An SCTP association as seen from the middle.
//
// RFC 9260 section 4 gives each end a state; we keep one for both, by the chunks that have passed.
// What a chunk does depends on who sends it: the original direction is the client's, of whom we
// expect INIT, COOKIE ECHO, and of the server INIT ACK, COOKIE ACK. Both may shut down.
//
//   CLOSED         only an INIT has been seen, or the association has ended
//   COOKIE_WAIT    an INIT ACK has answered it          SHUTDOWN_SENT      SHUTDOWN from the client
//   COOKIE_ECHOED  the client has echoed the cookie     SHUTDOWN_RECD      or from the server
//   ESTABLISHED    and that has been acknowledged       SHUTDOWN_ACK_SENT  has been answered
//   HEARTBEAT_SENT a secondary path of an association whose handshake took another one
//
// The verification tags decide who may speak (section 8.5). A direction's packets carry the tag
// that the other end has announced in its INIT or INIT ACK. Ends that both send INIT (section
// 5.2.1) announce more than one: while both INITs are open, an INIT ACK must repeat the tag of the
// INIT that crossed it. A heartbeat teaches the tag of a path that we know nothing of; where it
// contradicts what we know, the pair of heartbeat and answer is believed, neither alone.

#include "conntrack/proto/sctp.h"

#include "conntrack/status.h"
#include "wire/crc32c.h"
#include "wire/udp.h"

namespace weir::conntrack {
namespace {

using enum SctpPhase;
using Type = SctpChunkType;

constexpr std::size_t kChunkHeader = 4;
constexpr std::size_t kInitValue = 16;  // Up to the parameters (RFC 9260 section 3.3.2).
constexpr std::uint8_t kKnownTypes = 16;

constexpr std::size_t index(Direction direction) { return static_cast<std::size_t>(direction); }

/// No association is known: only heartbeats have passed, or nothing.
constexpr bool is_outside(SctpPhase phase) { return phase == none || phase == heartbeat_sent; }

/// What a chunk from the client makes of a path that no association is known on: what can't open
/// one leaves it closed (section 8.4).
constexpr SctpPhase open_by_client(Type type, SctpPhase phase) {
  switch (type) {
    case Type::init:
      return phase == none ? closed : cookie_wait;
    case Type::shutdown_ack:
      return shutdown_ack_sent;
    case Type::heartbeat:
      return heartbeat_sent;
    case Type::heartbeat_ack:
      return phase == none ? closed : heartbeat_sent;
    default:
      return closed;
  }
}

/// The phase after a chunk; none when it may not come. Chunks that the handshake and the shutdown
/// don't know, DATA and SACK above all, are not asked about.
constexpr SctpPhase phase_after(Direction direction, Type type, SctpPhase phase) {
  const bool is_client = direction == Direction::original;
  if (is_outside(phase)) {
    if (is_client) return open_by_client(type, phase);
    if (phase == none) return none;
    if (type == Type::heartbeat) return heartbeat_sent;
    return type == Type::heartbeat_ack ? established : none;
  }
  const bool has_shutdown = phase == shutdown_sent || phase == shutdown_recd;
  switch (type) {
    case Type::init:
      return is_client && has_shutdown ? closed : phase;
    case Type::init_ack:
      return !is_client && phase == closed ? cookie_wait : phase;
    case Type::abort:
      return closed;
    case Type::shutdown:
      if (phase != established) return phase;
      return is_client ? shutdown_sent : shutdown_recd;
    case Type::shutdown_ack:
      return has_shutdown ? shutdown_ack_sent : phase;
    case Type::error:  // A stale cookie (section 3.3.10.3).
      return !is_client && phase == cookie_echoed ? closed : phase;
    case Type::cookie_echo:
      return phase == cookie_wait ? cookie_echoed : phase;
    case Type::cookie_ack:
      return phase == cookie_echoed ? established : phase;
    case Type::shutdown_complete:
      return phase == shutdown_ack_sent ? closed : phase;
    default:
      return phase;
  }
}

constexpr bool moves(Type type) {
  const bool is_data = type == Type::data || type == Type::sack;
  return !is_data && (type <= Type::cookie_ack || type == Type::shutdown_complete);
}

/// These bring the tag, or have rules of their own (section 8.5.1).
bool has_own_tag_rule(const SctpPacket& packet) {
  return packet.has(Type::init) || packet.has(Type::shutdown_complete) ||
         packet.has(Type::cookie_echo) || packet.has(Type::abort) ||
         packet.has(Type::shutdown_ack) || packet.has(Type::heartbeat) ||
         packet.has(Type::heartbeat_ack);
}

/// One packet on its way through the state.
class Passage {
 public:
  Passage(SctpState& state, const SctpPacket& packet, const Sighting& sighting)
      : state_(state),
        packet_(packet),
        sighting_(sighting),
        way_(index(sighting.direction)),
        back_(index(opposite(sighting.direction))) {}

  Step go(const TimeoutList& timeouts);

 private:
  Reason begin();
  Reason take(const SctpChunk& chunk);
  Reason check_tag(const SctpChunk& chunk);
  Reason heed_heartbeat(bool is_answer);
  Reason heed_init(const SctpChunk& init, SctpPhase to);
  Reason heed_init_ack(const SctpChunk& init_ack);
  std::uint32_t tag() const { return packet_.tag(); }

  SctpState& state_;
  const SctpPacket& packet_;
  const Sighting& sighting_;
  const std::size_t way_;   // This packet's direction
  const std::size_t back_;  // and the other.
  bool has_effect_ = true;
  bool skips_ = false;  // The chunk at hand: a heartbeat that must wait for its answer.
  Step step_{};
};

/// The first packet: what no association can begin with is refused, and the tag noted that answers
/// will have.
Reason Passage::begin() {
  state_ = {};
  if (packet_.has(Type::abort) || packet_.has(Type::shutdown_complete) ||
      packet_.has(Type::cookie_ack)) {
    return Reason::sctp_not_a_beginning;
  }
  for (Bytes rest = packet_.chunks(); SctpPacket::has_chunk(rest);) {
    const SctpChunk chunk = SctpPacket::take_chunk(rest);
    if (!moves(chunk.type)) return Reason::sctp_not_a_beginning;
    if (chunk.type == Type::heartbeat) {
      state_.tags[way_] = tag();
    } else if (chunk.type != Type::init) {
      state_.tags[back_] = tag();  // Out of the blue: the answer reflects the tag.
    }
  }
  return Reason::none;
}

/// Section 8.5.1 for the chunks that have a rule of their own.
Reason Passage::check_tag(const SctpChunk& chunk) {
  switch (chunk.type) {
    case Type::init:
      return tag() == 0 ? Reason::none : Reason::sctp_tag;
    case Type::abort:
    case Type::shutdown_complete:
      return tag() == state_.tags[chunk.has_reflected_tag() ? back_ : way_] ? Reason::none
                                                                            : Reason::sctp_tag;
    case Type::cookie_echo:
      return tag() == state_.tags[way_] ? Reason::none : Reason::sctp_tag;
    case Type::cookie_ack:
      state_.has_init = {};
      return Reason::none;
    case Type::heartbeat:
      return heed_heartbeat(false);
    case Type::heartbeat_ack:
      return heed_heartbeat(true);
    default:
      return Reason::none;
  }
}

Reason Passage::heed_heartbeat(bool is_answer) {
  std::uint32_t& known = state_.tags[way_];
  if (known == 0) {
    known = tag();
    return Reason::none;
  }
  if (known == tag()) {
    state_.has_odd_heartbeat = false;
    return Reason::none;
  }
  if (packet_.has(Type::data) || !has_effect_) return Reason::sctp_tag;
  if (!is_answer) {
    state_.has_odd_heartbeat = true;
    state_.odd_heartbeat = sighting_.direction;
    has_effect_ = false;
    skips_ = true;
    return Reason::none;
  }
  if (!state_.has_odd_heartbeat || state_.odd_heartbeat == sighting_.direction) {
    return Reason::sctp_tag;
  }
  // The odd heartbeat was right: the path belongs to another association by now.
  state_.has_odd_heartbeat = false;
  known = tag();
  state_.tags[back_] = 0;
  return Reason::none;
}

Reason Passage::heed_init(const SctpChunk& init, SctpPhase to) {
  if (init.value.size() < kInitValue) return Reason::truncated;
  // A third INIT: the other side's is void, not ours.
  if (state_.has_init[way_] && state_.has_init[back_]) state_.has_init[back_] = false;
  state_.has_init[way_] = true;
  state_.tags[back_] = load<Be32>(init.value.data()).host();
  // A repeated INIT must not keep an entry, and its NAT mapping, alive for ever.
  const bool is_repeated = state_.phase == closed && to == closed && !sighting_.first;
  if (is_repeated) has_effect_ = false;
  return Reason::none;
}

Reason Passage::heed_init_ack(const SctpChunk& init_ack) {
  if (init_ack.value.size() < kInitValue) return Reason::truncated;
  const std::uint32_t announced = load<Be32>(init_ack.value.data()).host();
  const std::uint32_t known = state_.tags[back_];
  const bool answers_nothing = !state_.has_init[back_] && known != 0;
  const bool is_collision = state_.has_init[way_] && state_.has_init[back_];
  if ((answers_nothing || is_collision) && known != announced) return Reason::sctp_tag;
  state_.tags[back_] = announced;
  return Reason::none;
}

Reason Passage::take(const SctpChunk& chunk) {
  skips_ = false;
  Reason reason = check_tag(chunk);
  if (reason != Reason::none || skips_) return reason;

  const SctpPhase from = state_.phase;
  const SctpPhase to =
      moves(chunk.type) ? phase_after(sighting_.direction, chunk.type, from) : from;
  if (moves(chunk.type) && to == none) return Reason::sctp_state;
  if (chunk.type == Type::init) reason = heed_init(chunk, to);
  if (chunk.type == Type::init_ack) reason = heed_init_ack(chunk);
  if (reason != Reason::none) return reason;

  state_.phase = to;
  if (from == to) return Reason::none;
  step_.events |= event::kProtoInfo;
  if (to == established) {
    step_.assured = true;
    if (!sighting_.assured) step_.events |= event::kAssured;
  }
  return Reason::none;
}

Step Passage::go(const TimeoutList& timeouts) {
  const auto refuse = [](Reason reason) {
    return Step{.outcome = Outcome::invalid, .reason = reason};
  };
  if (sighting_.first) {
    const Reason reason = begin();
    if (reason != Reason::none) return refuse(reason);
  }
  if (!has_own_tag_rule(packet_) && tag() != state_.tags[way_]) return refuse(Reason::sctp_tag);

  for (Bytes rest = packet_.chunks(); SctpPacket::has_chunk(rest);) {
    const Reason reason = take(SctpPacket::take_chunk(rest));
    if (reason != Reason::none) return refuse(reason);
  }
  if (has_effect_) {
    step_.timeout = timeouts[static_cast<std::size_t>(state_.phase)];
  } else {
    step_.counted = false;
  }
  return step_;
}

}  // namespace

const char* to_string(SctpPhase phase) {
  static constexpr std::array<const char*, 9> kNames = {
      "NONE",          "CLOSED",        "COOKIE_WAIT",       "COOKIE_ECHOED", "ESTABLISHED",
      "SHUTDOWN_SENT", "SHUTDOWN_RECD", "SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT"};
  return kNames[static_cast<std::size_t>(phase)];
}

SctpChunk SctpPacket::take_chunk(Bytes& rest) {
  SctpChunk chunk{.type = static_cast<SctpChunkType>(rest[0]), .flags = rest[1]};
  const std::size_t bytes = load<Be16>(&rest[2]).host();
  const std::size_t step = std::max<std::size_t>((bytes + 3) / 4 * 4, kChunkHeader);
  chunk.value = rest.subspan(kChunkHeader);
  rest = rest.subspan(std::min(step, rest.size()));
  return chunk;
}

std::expected<SctpPacket, Reason> SctpPacket::read(Bytes l4) {
  const auto* const header = wire::view<wire::Sctp>(l4);
  if (header == nullptr) return std::unexpected(Reason::truncated);
  SctpPacket packet;
  packet.tag_ = header->verification_tag().host();
  packet.chunks_ = l4.subspan(sizeof(wire::Sctp));

  bool is_first = true;
  bool must_be_alone = false;
  for (Bytes rest = packet.chunks_; has_chunk(rest); is_first = false) {
    if (load<Be16>(&rest[2]).raw == 0) return std::unexpected(Reason::sctp_chunks);
    const Type type = take_chunk(rest).type;
    must_be_alone |=
        type == Type::init || type == Type::init_ack || type == Type::shutdown_complete;
    const bool must_be_first = type == Type::cookie_ack || type == Type::cookie_echo;
    if (!is_first && (must_be_alone || must_be_first)) {
      return std::unexpected(Reason::sctp_chunks);
    }
    const auto number = static_cast<std::uint8_t>(type);
    if (number < kKnownTypes) packet.types_ |= static_cast<std::uint16_t>(1u << number);
  }
  if (is_first) return std::unexpected(Reason::sctp_chunks);
  return packet;
}

Step SctpState::on_packet(const SctpPacket& packet, const Sighting& sighting,
                          const TimeoutList& timeouts) {
  return Passage(*this, packet, sighting).go(timeouts);
}

bool is_sctp_checksum_right(Bytes l4) {
  return wire::sctp_checksum(l4) == wire::at<wire::Sctp>(l4.data()).checksum();
}

}  // namespace weir::conntrack
