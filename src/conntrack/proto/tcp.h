#pragma once

#include <array>
#include <cstdint>
#include <expected>

#include "base/bytes.h"
#include "base/clock.h"
#include "conntrack/proto/step.h"
#include "conntrack/sequence_adjustment.h"
#include "conntrack/sysctl.h"
#include "conntrack/tuple.h"

namespace weir::conntrack {

/// The states of a tracked TCP connection; the values are the kernel's enum tcp_conntrack, which is
/// what ctnetlink carries.
enum class TcpPhase : std::uint8_t {
  none = 0,
  syn_sent = 1,
  syn_recv = 2,
  established = 3,
  fin_wait = 4,
  close_wait = 5,
  last_ack = 6,
  time_wait = 7,
  close = 8,
  syn_sent2 = 9,
};

/// "SYN_SENT", as conntrack(8) prints it.
const char* to_string(TcpPhase phase);

/// What tracking TCP may be told: the timeouts, of the knobs or of a policy, and the other knobs.
struct TcpSettings {
  const TimeoutList& timeouts;
  const TcpKnobs& knobs;

  Duration timeout(TcpPhase phase) const { return timeouts[static_cast<std::size_t>(phase)]; }
  Duration retransmitted() const { return timeouts[timeout::kTcpRetransmitted]; }
  Duration unacknowledged() const { return timeouts[timeout::kTcpUnacknowledged]; }
};

/// What tracking needs of a TCP segment, numbers in host order.
struct TcpSegment {
  static constexpr std::uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kPsh = 0x08, kAck = 0x10,
                                kUrg = 0x20;

  std::uint32_t seq = 0;
  std::uint32_t ack = 0;
  std::uint16_t window = 0;  // As in the header, unscaled.
  std::uint8_t flags = 0;
  std::uint32_t payload_bytes = 0;  // Of a whole GSO segment where the packet is one.
  Bytes options{};                  // Borrowed from the packet.
  // What payload rewriting did to the numbers that are acknowledged here; null for nothing.
  const SequenceAdjustment* acknowledged = nullptr;

  bool has(std::uint8_t flag) const { return (flags & flag) != 0; }
  /// The sequence number after the segment: SYN and FIN occupy one each (RFC 9293 section 3.4).
  std::uint32_t end() const {
    return seq + payload_bytes + (has(kSyn) ? 1 : 0) + (has(kFin) ? 1 : 0);
  }

  /// Reads the segment that fills `l4` (header, options, payload). Errors: `truncated` when the
  /// header or its options reach past the end, `tcp_flags` for flags that no TCP sends together.
  static std::expected<TcpSegment, Reason> read(Bytes l4);
};

/// One direction of the connection: what this side has sent, and is allowed to send.
struct TcpSide {
  /// Flags; the values are the kernel's IP_CT_TCP_FLAG_*, which ctnetlink shows and sets.
  static constexpr std::uint8_t kWindowScale = 0x01, kSackPermitted = 0x02, kCloseInit = 0x04,
                                kBeLiberal = 0x08, kDataUnacknowledged = 0x10, kMaxackSet = 0x20;

  std::uint32_t end = 0;      // Highest seq + length sent.
  std::uint32_t max_end = 0;  // Highest seq + length allowed: the peer's ack + window.
  std::uint32_t max_win = 0;  // Largest window announced, scaled; zero: side not seen yet.
  std::uint32_t max_ack = 0;  // Highest ack sent.
};

/// What kind of segment it is, in this order of precedence.
enum class TcpKind : std::uint8_t { syn, syn_ack, fin, ack, rst, none };

/// The state of a TCP connection's tracking (RFC 9293 as seen from the middle; the behaviour is
/// that of the kernel's nf_conntrack_proto_tcp.c). Plain data inside the entry, guarded by the
/// entry's lock. Arrays are indexed by Direction.
struct TcpState {
  std::array<TcpSide, 2> sides;
  // The segment that was seen last, or let through last although it did not fit: retransmissions
  // are counted by it, and when its answer shows that it was right, the state follows it.
  std::uint32_t last_seq = 0;
  std::uint32_t last_ack = 0;
  std::uint32_t last_end = 0;
  std::uint16_t last_win = 0;
  std::array<std::uint8_t, 2> flags{};   // TcpSide's.
  std::array<std::uint8_t, 2> scales{};  // Window scales, 0 to 14 (RFC 7323 section 2.3).
  std::uint8_t last_flags = 0;
  std::uint8_t last_scale = 0;
  std::uint8_t retransmissions = 0;
  TcpPhase phase = TcpPhase::none;
  TcpKind last_kind = TcpKind::none;
  Direction last_direction = Direction::original;

  /// The packet `segment` of the connection arrives. Requires: `sighting.first` for the packet that
  /// makes the entry (the state is then begun afresh); afterwards the same state, packet by packet.
  Step on_packet(const TcpSegment& segment, const Sighting& sighting, const TcpSettings& settings);

  /// Whether an entry in this state may be evicted early although it is assured: it is closing.
  bool is_closing() const;

  // What ctnetlink sets (CTA_PROTOINFO_TCP), beside `phase`.
  void set_flags(Direction side, std::uint8_t value, std::uint8_t mask);
  /// Only where both sides have announced scaling; otherwise nothing changes.
  void set_scales(std::uint8_t original, std::uint8_t reply);
};
static_assert(sizeof(TcpState) == 56);

}  // namespace weir::conntrack
