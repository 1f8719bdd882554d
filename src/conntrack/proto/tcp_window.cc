// Window tracking: is a segment one that its receiver can use, judged from the middle?
//
// After Guido van Rooij, "Real Stateful TCP Packet Filtering in IP Filter" (2000). Of each side we
// know what it has sent: `end` (highest seq + length), `max_ack`, and `max_win`, the largest window
// that it ever announced; and from its peer's ACKs `max_end`, up to which it may send. A receiver
// accepts what overlaps its window (RFC 9293 section 3.10.7.4), and both sides may be behind what
// we have seen, so
//
//   upper bound of data    seq        <= sender.max_end
//   lower bound of data    seq + len  >= sender.end - receiver.max_win
//   upper bound of ACKs    sack       <= receiver.end
//   lower bound of ACKs    sack       >= receiver.end - max(sender.max_win, kAckSlack)
//
// where sack is the right edge of the highest SACK block, or the ACK. A side with max_win zero
// hasn't been seen yet; the first segment from it teaches us where it is. Segments that are only
// late (the lower bounds) or a little too long are common in good faith; they pass, but teach
// nothing.

#include "conntrack/proto/tcp_window.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "conntrack/proto/tcp_phase.h"
#include "wire/tcp.h"

namespace weir::conntrack {
namespace {

/// ACKs may be this much older than the newest data without being stale: one full unscaled window.
constexpr std::uint32_t kAckSlack = 66000;

constexpr std::uint8_t kMaxScale = 14;  // RFC 7323 section 2.3.

/// Nearly every segment of today has exactly these options: two NOPs and the time stamps.
bool is_timestamp_alone(Bytes options) {
  constexpr std::array<std::uint8_t, 4> kStart = {1, 1, wire::tcp_option::kTimestamps, 10};
  return options.size() == 12 && std::memcmp(options.data(), kStart.data(), kStart.size()) == 0;
}

/// The highest right edge of the SACK blocks (RFC 2018 section 3), or `ack` if none is above it.
std::uint32_t highest_sack(Bytes options, std::uint32_t ack) {
  if (options.empty() || is_timestamp_alone(options)) return ack;
  const wire::TcpOptions parsed = wire::parse_tcp_options(options);
  std::uint32_t highest = ack;
  for (std::size_t i = 0; i < parsed.sack_count; ++i) {
    if (is_after(parsed.sack[i].right, highest)) highest = parsed.sack[i].right;
  }
  return highest;
}

std::size_t index(Direction direction) { return static_cast<std::size_t>(direction); }
std::uint32_t at_least_one(std::uint32_t window) { return window == 0 ? 1 : window; }

/// The segment and both sides of it, as the check goes on.
struct Check {
  TcpState& state;
  const TcpSegment& segment;
  const TcpSettings& settings;
  Direction direction;
  TcpSide& sender;
  TcpSide& receiver;
  std::uint8_t& sender_flags;
  std::uint8_t& receiver_flags;
  std::uint32_t seq;
  std::uint32_t end;
  std::uint32_t ack;
  std::uint32_t sack;

  bool has(std::uint8_t flag) const { return segment.has(flag); }
  std::uint32_t oldest_ack() const {
    return receiver.end - std::max(sender.max_win, kAckSlack) - 1;
  }
  std::uint32_t oldest_data() const { return sender.end - receiver.max_win - 1; }

  /// In a liberal connection everything that is outside passes as if it were inside (it still moves
  /// the phase), and teaches nothing about windows.
  TcpFit outside(TcpFit::What what, Reason reason) const {
    const bool is_liberal =
        settings.knobs.be_liberal.is_on() || (sender_flags & TcpSide::kBeLiberal) != 0;
    return is_liberal ? TcpFit{} : TcpFit{what, reason};
  }
};

/// SYN or SYN/ACK: the sender begins here.
void begin_sender(Check& check) {
  check.sender.end = check.sender.max_end = check.end;
  check.sender.max_win = at_least_one(check.segment.window);
  learn_announced(check.state, check.direction, check.segment);

  // RFC 7323 section 2.2: scaling is on only when both sides have announced it.
  const bool both_scale = (check.sender_flags & check.receiver_flags & TcpSide::kWindowScale) != 0;
  if (check.direction == Direction::reply && !both_scale) check.state.scales = {};
}

/// The sender's first segment that we see is not a SYN: we came late, its numbers are as good as
/// any.
void pick_up_sender(Check& check) {
  TcpSide& sender = check.sender;
  TcpSide& receiver = check.receiver;
  sender.end = check.end;
  sender.max_win = at_least_one(std::uint32_t{check.segment.window}
                                << check.state.scales[index(check.direction)]);
  sender.max_end = check.end + sender.max_win;
  if (receiver.max_win == 0) {
    receiver.end = receiver.max_end = check.sack;
  } else if (check.sack == receiver.end + 1) {
    receiver
        .end++;  // Most likely the answer to a keep-alive, whose one byte lies before what we saw.
  }
}

/// Brings the sender into the picture where the segment does that. True when nothing is left to
/// check: a SYN without ACK from the other side, in a simultaneous open.
bool introduce_sender(Check& check) {
  const bool is_syn = check.has(TcpSegment::kSyn);
  const bool has_ack = check.has(TcpSegment::kAck);
  if (check.sender.max_win == 0) {
    if (!is_syn) {
      pick_up_sender(check);
      return false;
    }
    begin_sender(check);
    return !has_ack;
  }

  // RFC 9293 section 3.4.2: a TCP that begins anew uses sequence numbers above those of its last
  // attempt. Numbers and options of this attempt may differ from the former one's.
  const bool is_opening =
      check.state.phase == TcpPhase::syn_sent || check.state.phase == TcpPhase::syn_recv;
  if (!is_syn || !is_opening || !is_after(check.end, check.sender.end)) return false;
  begin_sender(check);
  return check.direction == Direction::reply && !has_ack;
}

/// Segments without ACK count as acknowledging what is due, and so do RSTs that say ACK with number
/// zero, as some stacks send them. An RST that answers a SYN may have sequence number zero (RFC
/// 9293 section 3.5.2).
void complete_numbers(Check& check) {
  const bool is_rst = check.has(TcpSegment::kRst);
  if (!check.has(TcpSegment::kAck) || (is_rst && check.ack == 0)) {
    check.ack = check.sack = check.receiver.end;
  }
  if (is_rst && check.seq == 0 && check.state.phase == TcpPhase::syn_sent) {
    check.seq = check.end = check.sender.end;
  }
}

/// Data beyond the receiver's window. Some stacks send a little more than they may; when everything
/// else fits, remember how far they went, so that the ACK of it is not taken for one of unseen
/// data.
TcpFit beyond_window(Check& check) {
  const std::uint32_t overshot = check.end - check.sender.max_end + 1;
  const bool rest_fits = check.receiver.max_win != 0 && is_after(check.end, check.oldest_data()) &&
                         is_after(check.sack, check.oldest_ack()) &&
                         overshot <= check.receiver.max_win &&
                         is_before(check.sack, check.receiver.end + 1);
  if (!rest_fits) return check.outside(TcpFit::What::invalid, Reason::tcp_seq_over_window);
  check.sender.end = check.end;
  check.sender_flags |= TcpSide::kDataUnacknowledged;
  return check.outside(TcpFit::What::ignored, Reason::tcp_overshot_window);
}

/// What is to become of a segment that lies outside; nothing when it lies inside.
std::optional<TcpFit> compare(Check& check) {
  if (!is_before(check.seq, check.sender.max_end + 1)) return beyond_window(check);
  if (!is_before(check.sack, check.receiver.end + 1)) {
    return check.outside(TcpFit::What::invalid, Reason::tcp_ack_of_unseen_data);
  }
  if (check.receiver.max_win != 0 && !is_after(check.end, check.oldest_data())) {
    return check.outside(TcpFit::What::ignored, Reason::tcp_seq_under_window);
  }
  if (!is_after(check.sack, check.oldest_ack())) {
    return check.outside(TcpFit::What::ignored, Reason::tcp_ack_too_old);
  }
  return std::nullopt;
}

void learn_from(Check& check) {
  TcpSide& sender = check.sender;
  TcpSide& receiver = check.receiver;
  std::uint32_t window = check.segment.window;
  // RFC 7323 section 2.2: the window of a SYN is never scaled.
  if (!check.has(TcpSegment::kSyn)) window <<= check.state.scales[index(check.direction)];

  sender.max_win = std::max(sender.max_win, window + (check.sack - check.ack));
  if (is_after(check.end, sender.end)) {
    sender.end = check.end;
    check.sender_flags |= TcpSide::kDataUnacknowledged;
  }
  if (check.has(TcpSegment::kAck)) {
    const bool is_first = (check.sender_flags & TcpSide::kMaxackSet) == 0;
    if (is_first || is_after(check.ack, sender.max_ack)) sender.max_ack = check.ack;
    check.sender_flags |= TcpSide::kMaxackSet;
  }

  if (receiver.max_win != 0 && is_after(check.end, sender.max_end)) {
    receiver.max_win += check.end - sender.max_end;
  }
  if (is_after(check.sack + window, receiver.max_end - 1)) {
    receiver.max_end = check.sack + at_least_one(window);
  }
  if (check.ack == receiver.end) {
    check.receiver_flags &= static_cast<std::uint8_t>(~TcpSide::kDataUnacknowledged);
  }
}

/// A segment that repeats the last one of its kind in everything is a retransmission.
void count_retransmissions(Check& check) {
  if (kind_of(check.segment) != TcpKind::ack) return;
  TcpState& state = check.state;
  const bool is_same = state.last_direction == check.direction && state.last_seq == check.seq &&
                       state.last_ack == check.ack && state.last_end == check.end &&
                       state.last_win == check.segment.window;
  if (is_same) {
    if (state.retransmissions < 0xff) state.retransmissions++;
    return;
  }
  state.last_direction = check.direction;
  state.last_seq = check.seq;
  state.last_ack = check.ack;
  state.last_end = check.end;
  state.last_win = check.segment.window;
  state.retransmissions = 0;
}

}  // namespace

void learn_announced(TcpState& state, Direction sender, const TcpSegment& syn) {
  if (syn.options.empty()) return;
  const wire::TcpOptions announced = wire::parse_tcp_options(syn.options);
  std::uint8_t& flags = state.flags[index(sender)];
  flags &= TcpSide::kBeLiberal;
  if (announced.has_sack_permitted) flags |= TcpSide::kSackPermitted;
  if (announced.window_scale) flags |= TcpSide::kWindowScale;
  state.scales[index(sender)] = std::min(announced.window_scale.value_or(0), kMaxScale);
}

TcpFit fit_window(TcpState& state, const TcpSegment& segment, Direction direction,
                  const TcpSettings& settings) {
  const std::size_t from = index(direction);
  const std::size_t to = index(opposite(direction));
  const bool reads_sack = (state.flags[to] & TcpSide::kSackPermitted) != 0;
  // Each side is judged by the numbers that it sends itself.
  const auto own_number = [&](std::uint32_t acknowledged) {
    return segment.acknowledged == nullptr ? acknowledged
                                           : segment.acknowledged->sent(acknowledged);
  };
  Check check{
      .state = state,
      .segment = segment,
      .settings = settings,
      .direction = direction,
      .sender = state.sides[from],
      .receiver = state.sides[to],
      .sender_flags = state.flags[from],
      .receiver_flags = state.flags[to],
      .seq = segment.seq,
      .end = segment.end(),
      .ack = own_number(segment.ack),
      .sack = own_number(reads_sack ? highest_sack(segment.options, segment.ack) : segment.ack),
  };

  if (introduce_sender(check)) return {};
  complete_numbers(check);
  if (const auto outside = compare(check)) return *outside;
  learn_from(check);
  count_retransmissions(check);
  return {};
}

}  // namespace weir::conntrack
