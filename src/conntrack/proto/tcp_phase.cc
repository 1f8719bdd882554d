// The phases of a TCP connection as seen from the middle.
//
// RFC 9293 section 3.3.2 gives each end a state; between them we keep one for both. We see segments
// before their receiver does, and some get lost after us, so a phase says what the *senders* have
// certainly done:
//
//   SYN_SENT      the client has sent its SYN            FIN_WAIT    one side has sent its FIN
//   SYN_SENT2     both have (simultaneous open)          CLOSE_WAIT  and that has been acknowledged
//   SYN_RECV      one SYN has been answered by SYN/ACK   LAST_ACK    both have sent their FIN
//   ESTABLISHED   and that by an ACK                     TIME_WAIT   both have been acknowledged
//                                                        CLOSE       an RST has been seen
//
// A segment that can't be right is invalid. One that is wrong only if we are right is `ignored`:
// after a lost RST or a reboot, client and server may agree on a connection that we hold for dead.
// It passes without effect, and its answer tells which of us was wrong (tcp.cc).

#include "conntrack/proto/tcp_phase.h"

#include <array>

namespace weir::conntrack {
namespace {

using enum TcpPhase;

constexpr std::size_t kPhases = 10;
constexpr std::size_t kKinds = 6;

constexpr TcpDue to(TcpPhase phase) { return {TcpDue::What::moves, phase}; }
constexpr TcpDue kIgnored{TcpDue::What::ignored, none};
constexpr TcpDue kInvalid{TcpDue::What::invalid, none};

constexpr bool was_answered(TcpPhase phase) {
  return phase != none && phase != syn_sent && phase != syn_sent2;
}

/// A client's SYN opens, repeats itself, or reopens what is closed (RFC 9293 section 3.6.1, RFC
/// 1122 section 4.2.2.13). Within a living connection the server answers it with an RST or a
/// challenge ACK (RFC 5961 section 4), so it is ignored.
constexpr TcpDue due_client_syn(TcpPhase phase) {
  switch (phase) {
    case none:
    case syn_sent:
    case time_wait:
    case close:
      return to(syn_sent);
    case syn_sent2:
      return to(syn_sent2);
    default:
      return kIgnored;
  }
}

/// A server's SYN is a simultaneous open (RFC 9293 figure 8), or the former server calling back on
/// the same ports.
constexpr TcpDue due_server_syn(TcpPhase phase) {
  switch (phase) {
    case syn_sent:
    case syn_sent2:
      return to(syn_sent2);
    case time_wait:
      return to(syn_sent);
    default:
      return kInvalid;
  }
}

/// Only in a simultaneous open does the client send SYN/ACK.
constexpr TcpDue due_client_syn_ack(TcpPhase phase) {
  return phase == syn_sent2 || phase == syn_recv ? to(syn_recv) : kInvalid;
}

/// The server's SYN/ACK; later ones are repetitions, or answers to a SYN that was ignored.
constexpr TcpDue due_server_syn_ack(TcpPhase phase) {
  if (phase == none) return kInvalid;
  return was_answered(phase) ? kIgnored : to(syn_recv);
}

/// Nobody sends FIN before the SYN/ACK has passed.
constexpr TcpDue due_fin(TcpPhase phase) {
  switch (phase) {
    case syn_recv:
    case established:
      return to(fin_wait);
    case fin_wait:
    case close_wait:
    case last_ack:
      return to(last_ack);
    case time_wait:
    case close:
      return to(phase);
    default:
      return kInvalid;
  }
}

/// Both directions alike once a SYN/ACK has passed; an ACK that opens is a connection that began
/// unseen. The server's bare ACK to a SYN means a half-open connection (RFC 9293 section 3.5.1).
constexpr TcpDue due_ack(Direction direction, TcpPhase phase) {
  const bool is_client = direction == Direction::original;
  switch (phase) {
    case none:
      return is_client ? to(established) : kInvalid;
    case syn_sent:
    case syn_sent2:
      return is_client ? kInvalid : kIgnored;
    case syn_recv:
      return to(is_client ? established : syn_recv);
    case fin_wait:
    case close_wait:
      return to(close_wait);
    case last_ack:
    case time_wait:
      return to(time_wait);
    case established:
    case close:
      break;
  }
  return to(phase);
}

constexpr TcpDue due(Direction direction, TcpKind kind, TcpPhase phase) {
  const bool is_client = direction == Direction::original;
  switch (kind) {
    case TcpKind::syn:
      return is_client ? due_client_syn(phase) : due_server_syn(phase);
    case TcpKind::syn_ack:
      return is_client ? due_client_syn_ack(phase) : due_server_syn_ack(phase);
    case TcpKind::fin:
      return due_fin(phase);
    case TcpKind::ack:
      return due_ack(direction, phase);
    case TcpKind::rst:
      return phase == none ? kInvalid : to(close);
    case TcpKind::none:
      break;
  }
  return kInvalid;
}

using Table = std::array<std::array<std::array<TcpDue, kPhases>, kKinds>, 2>;

constexpr Table make_table() {
  Table table{};
  for (std::size_t direction = 0; direction < 2; ++direction) {
    for (std::size_t kind = 0; kind < kKinds; ++kind) {
      for (std::size_t phase = 0; phase < kPhases; ++phase) {
        table[direction][kind][phase] =
            due(static_cast<Direction>(direction), static_cast<TcpKind>(kind),
                static_cast<TcpPhase>(phase));
      }
    }
  }
  return table;
}

constexpr Table kTable = make_table();

}  // namespace

TcpKind kind_of(const TcpSegment& segment) {
  if (segment.has(TcpSegment::kRst)) return TcpKind::rst;
  if (segment.has(TcpSegment::kSyn)) {
    return segment.has(TcpSegment::kAck) ? TcpKind::syn_ack : TcpKind::syn;
  }
  if (segment.has(TcpSegment::kFin)) return TcpKind::fin;
  return segment.has(TcpSegment::kAck) ? TcpKind::ack : TcpKind::none;
}

TcpDue tcp_due(Direction direction, TcpKind kind, TcpPhase phase) {
  return kTable[static_cast<std::size_t>(direction)][static_cast<std::size_t>(kind)]
               [static_cast<std::size_t>(phase)];
}

const char* to_string(TcpPhase phase) {
  static constexpr std::array<const char*, kPhases> kNames = {
      "NONE",       "SYN_SENT", "SYN_RECV",  "ESTABLISHED", "FIN_WAIT",
      "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT", "CLOSE",       "SYN_SENT2"};
  return kNames[static_cast<std::size_t>(phase)];
}

}  // namespace weir::conntrack
