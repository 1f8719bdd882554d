// Tracking one TCP connection, packet by packet: what is due by the phase (tcp_phase.cc), then by
// the windows (tcp_window.cc), with the cases between that neither can see: SYNs that reopen,
// segments that pass unexamined because client and server may know better than we do, and RSTs,
// which end a connection only when nobody can have made them up (RFC 5961 section 3).

#include "conntrack/proto/tcp.h"

#include <algorithm>

#include "conntrack/proto/tcp_phase.h"
#include "conntrack/proto/tcp_window.h"
#include "conntrack/status.h"

namespace weir::conntrack {
namespace {

using enum TcpPhase;

/// In `last_flags`, beside what an ignored SYN announced (the kernel's IP_CT_EXP_CHALLENGE_ACK and
/// IP_CT_TCP_SIMULTANEOUS_OPEN).
constexpr std::uint8_t kExpectChallengeAck = 0x40;
constexpr std::uint8_t kSimultaneousOpen = 0x80;

/// A closing connection whose RST or FIN was out of the window isn't hurried along below this.
constexpr Duration kSoonEnough = std::chrono::seconds(120);

std::size_t index(Direction direction) { return static_cast<std::size_t>(direction); }

Step pass_without_effect(Reason reason) { return {.counted = false, .reason = reason}; }
Step refuse(Reason reason) {
  return {.counted = false, .outcome = Outcome::invalid, .reason = reason};
}

/// One packet on its way through the tracker.
class Passage {
 public:
  Passage(TcpState& state, const TcpSegment& segment, const Sighting& sighting,
          const TcpSettings& settings)
      : state_(state),
        segment_(segment),
        sighting_(sighting),
        settings_(settings),
        kind_(kind_of(segment)),
        direction_(sighting.direction),
        from_(state.phase) {}

  Step go();

 private:
  /// Where a segment that is due goes from here.
  enum class Next : std::uint8_t { check_window, skip_window, refuse_reset };

  Reason begin();
  bool is_reopening(const TcpDue& due) const;
  bool answers_ignored_syn() const;
  void follow_ignored_syn();
  Step ignore();
  bool is_challenge_ack() const;
  bool is_established() const { return state_.phase == established && sighting_.assured; }
  Next judge_reset();
  bool answers_ignored_segment() const;
  Step out_of_window(Reason reason);
  Duration timeout() const;
  Step arrive();

  TcpState& state_;
  const TcpSegment& segment_;
  const Sighting& sighting_;
  const TcpSettings& settings_;
  const TcpKind kind_;
  const Direction direction_;
  TcpPhase from_;
  TcpPhase to_ = none;
};

/// The packet that makes the entry: a SYN, or, where picking up is allowed, an ACK out of the
/// middle. Of a connection that began unseen we don't know the scaling, so its windows are judged
/// liberally.
Reason Passage::begin() {
  const TcpDue due = tcp_due(Direction::original, kind_, none);
  if (due.what != TcpDue::What::moves) return Reason::tcp_not_a_beginning;
  const bool is_pick_up = due.phase != syn_sent;
  if (is_pick_up && !settings_.knobs.loose.is_on()) return Reason::tcp_loose_off;

  state_ = TcpState{};
  from_ = none;
  TcpSide& client = state_.sides[0];
  client.end = client.max_end = segment_.end();
  client.max_win = segment_.window == 0 ? 1 : segment_.window;
  if (is_pick_up) {
    client.max_end += client.max_win;
    state_.flags.fill(TcpSide::kSackPermitted | TcpSide::kBeLiberal);
  } else {
    learn_announced(state_, Direction::original, segment_);
  }
  return Reason::none;
}

/// RFC 1122 section 4.2.2.13: a SYN may reopen a connection in TIME-WAIT. Likewise one that its own
/// sender has reset. In CLOSE for another reason it is only let through.
bool Passage::is_reopening(const TcpDue& due) const {
  if (due.what != TcpDue::What::moves || due.phase != syn_sent) return false;
  if (from_ != time_wait && from_ != close) return false;
  const bool was_closed = ((state_.flags[0] | state_.flags[1]) & TcpSide::kCloseInit) != 0;
  const bool was_reset_by_sender =
      state_.last_direction == direction_ && state_.last_kind == TcpKind::rst;
  return was_closed || was_reset_by_sender;
}

/// The SYN that we let through was right after all: its SYN/ACK proves client and server to be in
/// sync.
bool Passage::answers_ignored_syn() const {
  return kind_ == TcpKind::syn_ack && state_.last_kind == TcpKind::syn &&
         state_.last_direction != direction_ && segment_.ack == state_.last_end;
}

/// Takes up the connection that the ignored SYN began.
void Passage::follow_ignored_syn() {
  const std::size_t client = index(state_.last_direction);
  TcpSide& side = state_.sides[client];
  side.end = side.max_end = state_.last_end;
  side.max_win = state_.last_win == 0 ? 1 : state_.last_win;
  state_.last_flags &= static_cast<std::uint8_t>(~kExpectChallengeAck);
  state_.flags[client] = state_.last_flags;
  state_.scales[client] = state_.last_scale;

  const std::size_t server = index(direction_);
  state_.sides[server] = TcpSide{};
  state_.flags[server] &= TcpSide::kBeLiberal;
  state_.scales[server] = 0;
  from_ = syn_sent;
  to_ = syn_recv;
}

/// Lets the segment through, and notes what is needed to understand the answer to it.
Step Passage::ignore() {
  state_.last_kind = kind_;
  state_.last_direction = direction_;
  state_.last_seq = segment_.seq;
  state_.last_end = segment_.end();
  state_.last_win = segment_.window;
  if (kind_ == TcpKind::syn && direction_ == Direction::original) {
    TcpState announced;
    learn_announced(announced, Direction::original, segment_);
    state_.last_flags = announced.flags[0];
    state_.last_scale = announced.scales[0];
    // RFC 5961 section 4: the server's answer may be a challenge ACK, which must not pass for the
    // ACK of the last FIN.
    if (from_ == last_ack) state_.last_flags |= kExpectChallengeAck;
  }
  const bool may_be_challenge =
      from_ == syn_sent && kind_ == TcpKind::ack && direction_ == Direction::reply;
  if (may_be_challenge) state_.last_ack = segment_.ack;
  return pass_without_effect(Reason::tcp_ignored_in_state);
}

bool Passage::is_challenge_ack() const {
  return from_ == last_ack && to_ == time_wait && kind_ == TcpKind::ack &&
         state_.last_direction != direction_ && state_.last_kind == TcpKind::syn &&
         (state_.last_flags & kExpectChallengeAck) != 0;
}

/// RFC 5961 section 3.2: an RST counts at exactly the sequence number that its receiver expects
/// next. A lower one is old or made up. A higher one draws a challenge ACK: the connection stays as
/// it is until that is answered.
Passage::Next Passage::judge_reset() {
  // The ports may have been used anew without our noticing; then our numbers say nothing.
  if (state_.is_closing()) return Next::skip_window;

  const std::size_t peer = index(opposite(direction_));
  const bool has_peer_acked = (state_.flags[peer] & TcpSide::kMaxackSet) != 0;
  if (has_peer_acked && state_.last_kind != TcpKind::syn) {
    const std::uint32_t expected = state_.sides[peer].max_ack;
    if (segment_.seq == 0 && !is_established())
      return Next::check_window;  // Answers an ignored SYN.
    if (is_before(segment_.seq, expected) && !settings_.knobs.ignore_invalid_rst.is_on())
      return Next::refuse_reset;
    if (!is_established() || segment_.seq == expected) return Next::check_window;
    const bool follows_own_data = state_.last_kind == TcpKind::ack &&
                                  state_.last_direction == direction_ &&
                                  segment_.seq == state_.last_end;
    if (follows_own_data) return Next::check_window;
    to_ = from_;
  }
  return answers_ignored_segment() ? Next::skip_window : Next::check_window;
}

/// The RST is the answer to a SYN or an ACK that was let through, so it may acknowledge what we did
/// not follow.
bool Passage::answers_ignored_segment() const {
  const bool after_syn = sighting_.seen_reply && state_.last_kind == TcpKind::syn;
  const bool after_ack = !sighting_.assured && state_.last_kind == TcpKind::ack;
  if ((after_syn || after_ack) && segment_.ack == state_.last_end) return true;

  // A client that knows nothing of the old connection resets the server's challenge ACK with the
  // very number that this acknowledged (RFC 9293 section 3.5.1).
  return from_ == syn_sent && state_.last_kind == TcpKind::ack &&
         state_.last_direction == Direction::reply && segment_.seq == state_.last_ack;
}

/// An established connection isn't held for days just because we judged its end to be out of
/// window: when one side's FIN or RST is refused and then the other's as well, it is as good as
/// unacknowledged.
Step Passage::out_of_window(Reason reason) {
  Step step = refuse(reason);
  const bool ends = kind_ == TcpKind::rst || kind_ == TcpKind::fin;
  if (!ends || !sighting_.assured || sighting_.fixed_timeout) return step;

  const bool other_side_ended =
      state_.last_direction != direction_ &&
      (state_.last_kind == TcpKind::fin || state_.last_kind == TcpKind::rst);
  if (!other_side_ended) {
    state_.last_kind = kind_;
    state_.last_direction = direction_;
    return step;
  }
  const Duration unacknowledged = settings_.unacknowledged();
  if (sighting_.expires_in >= kSoonEnough && sighting_.expires_in > unacknowledged) {
    step.timeout = unacknowledged;
  }
  return step;
}

/// The phase's timeout, or a shorter one while one side seems to be gone: it retransmits, has
/// closed its window, or hasn't acknowledged (RFC 9293 section 3.8.3).
Duration Passage::timeout() const {
  const Duration normal = settings_.timeout(to_);
  const Duration retransmitted = std::min(normal, settings_.retransmitted());
  if (state_.retransmissions >= settings_.knobs.max_retrans.get() && retransmitted < normal)
    return retransmitted;
  if (kind_ == TcpKind::rst) return settings_.timeout(close);
  const bool has_unacknowledged =
      ((state_.flags[0] | state_.flags[1]) & TcpSide::kDataUnacknowledged) != 0;
  if (has_unacknowledged && settings_.unacknowledged() < normal) return settings_.unacknowledged();
  if (state_.last_win == 0) return retransmitted;
  return normal;
}

/// The segment counts: the connection moves on.
Step Passage::arrive() {
  state_.last_kind = kind_;
  state_.last_direction = direction_;
  state_.phase = to_;
  if (from_ != to_ && to_ == fin_wait) state_.flags[index(direction_)] |= TcpSide::kCloseInit;

  Step step{.timeout = timeout()};
  if (from_ != to_) step.events |= event::kProtoInfo;

  if (!sighting_.seen_reply) {
    if (kind_ == TcpKind::rst) {  // Refused at once: nothing to remember.
      step.outcome = Outcome::remove;
    } else if (kind_ == TcpKind::syn && from_ == syn_sent) {
      // A repeated SYN must not keep an entry, and its NAT mapping, alive for ever.
      step.timeout.reset();
      step.counted = false;
    } else if (to_ == established) {  // Picked up; nobody has confirmed it yet.
      step.timeout = std::min(*step.timeout, settings_.unacknowledged());
    }
  } else if (!sighting_.assured && (from_ == syn_recv || from_ == established) &&
             to_ == established) {
    step.assured = true;
    step.events |= event::kAssured;
  }
  return step;
}

Step Passage::go() {
  if (sighting_.first) {
    const Reason reason = begin();
    if (reason != Reason::none) return refuse(reason);
  }

  const TcpDue due = tcp_due(direction_, kind_, from_);
  if (is_reopening(due)) return {.counted = false, .outcome = Outcome::reopen};
  const bool is_stale_syn = due.phase == syn_sent && (from_ == time_wait || from_ == close);
  if (due.what == TcpDue::What::ignored || is_stale_syn) {
    if (!answers_ignored_syn()) return ignore();
    follow_ignored_syn();
  } else if (due.what == TcpDue::What::invalid) {
    return refuse(Reason::tcp_state);
  } else {
    to_ = due.phase;
  }

  if (is_challenge_ack()) {
    state_.last_flags &= static_cast<std::uint8_t>(~kExpectChallengeAck);
    return pass_without_effect(Reason::tcp_challenge_ack);
  }
  if (to_ == syn_sent2) state_.last_flags |= kSimultaneousOpen;
  const bool completes_simultaneous_open = to_ == syn_recv && direction_ == Direction::reply &&
                                           kind_ == TcpKind::ack &&
                                           (state_.last_flags & kSimultaneousOpen) != 0;
  if (completes_simultaneous_open) to_ = established;

  const Next next = kind_ == TcpKind::rst ? judge_reset() : Next::check_window;
  if (next == Next::refuse_reset) return refuse(Reason::tcp_reset_not_in_sequence);
  if (next == Next::check_window) {
    const TcpFit fit = fit_window(state_, segment_, direction_, settings_);
    if (fit.what == TcpFit::What::ignored) return pass_without_effect(fit.reason);
    if (fit.what == TcpFit::What::invalid) return out_of_window(fit.reason);
  }
  return arrive();
}

}  // namespace

Step TcpState::on_packet(const TcpSegment& segment, const Sighting& sighting,
                         const TcpSettings& settings) {
  return Passage(*this, segment, sighting, settings).go();
}

bool TcpState::is_closing() const {
  return phase == fin_wait || phase == close_wait || phase == TcpPhase::last_ack ||
         phase == time_wait || phase == TcpPhase::close;
}

void TcpState::set_flags(Direction side, std::uint8_t value, std::uint8_t mask) {
  std::uint8_t& kept = flags[index(side)];
  kept = static_cast<std::uint8_t>((kept & ~mask) | (value & mask));
}

void TcpState::set_scales(std::uint8_t original, std::uint8_t reply) {
  if ((flags[0] & flags[1] & TcpSide::kWindowScale) != 0) scales = {original, reply};
}

}  // namespace weir::conntrack
