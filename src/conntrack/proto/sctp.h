#pragma once

#include <array>
#include <cstdint>
#include <expected>

#include "base/bytes.h"
#include "conntrack/proto/step.h"
#include "conntrack/sysctl.h"
#include "conntrack/tuple.h"

namespace weir::conntrack {

/// The states of a tracked SCTP association; the values are the kernel's enum sctp_conntrack, which
/// is what ctnetlink carries and what numbers the timeouts.
enum class SctpPhase : std::uint8_t {
  none = 0,
  closed = 1,
  cookie_wait = 2,
  cookie_echoed = 3,
  established = 4,
  shutdown_sent = 5,
  shutdown_recd = 6,
  shutdown_ack_sent = 7,
  heartbeat_sent = 8,
};

/// "COOKIE_WAIT", as conntrack(8) prints it.
const char* to_string(SctpPhase phase);

/// Chunk types that tracking knows (RFC 9260 section 3.2).
enum class SctpChunkType : std::uint8_t {
  data = 0,
  init = 1,
  init_ack = 2,
  sack = 3,
  heartbeat = 4,
  heartbeat_ack = 5,
  abort = 6,
  shutdown = 7,
  shutdown_ack = 8,
  error = 9,
  cookie_echo = 10,
  cookie_ack = 11,
  shutdown_complete = 14,
};

/// One chunk, borrowed from its packet.
struct SctpChunk {
  SctpChunkType type = SctpChunkType::data;
  std::uint8_t flags = 0;
  Bytes value{};  // As much of it as the packet holds.

  /// The tag is the peer's own, reflected: its sender had no association (section 8.5.1).
  bool has_reflected_tag() const { return (flags & 1) != 0; }
};

/// A packet whose chunks have been checked: there is one, none has length zero, and those that must
/// stand first or alone do.
class SctpPacket {
 public:
  /// Reads the packet that fills `l4`. Errors: `truncated`, `sctp_chunks`.
  static std::expected<SctpPacket, Reason> read(Bytes l4);

  std::uint32_t tag() const { return tag_; }
  bool has(SctpChunkType type) const { return (types_ >> static_cast<unsigned>(type) & 1) != 0; }

  /// Goes from chunk to chunk: take_chunk() shortens `rest`, which begins as chunks(). Requires:
  /// has_chunk(rest).
  Bytes chunks() const { return chunks_; }
  static bool has_chunk(Bytes rest) { return rest.size() >= 4; }
  static SctpChunk take_chunk(Bytes& rest);

 private:
  std::uint32_t tag_ = 0;
  Bytes chunks_{};
  std::uint16_t types_ = 0;  // Those below 16, a bit each.
};

/// The state of an SCTP association's tracking, i.e. of one path of it (RFC 9260; the behaviour is
/// that of the kernel's nf_conntrack_proto_sctp.c). Plain data inside the entry, guarded by its
/// lock; value-initialise it. Arrays are indexed by Direction.
struct SctpState {
  std::array<std::uint32_t, 2> tags;  // The verification tag that packets of this direction carry.
  std::array<bool, 2> has_init;       // An INIT went this way and no COOKIE ACK has ended it.
  SctpPhase phase;
  // A HEARTBEAT with another tag went this way: its answer will tell whether that is right.
  bool has_odd_heartbeat;
  Direction odd_heartbeat;
  std::array<std::uint8_t, 3> unused;

  /// As TcpState::on_packet.
  Step on_packet(const SctpPacket& packet, const Sighting& sighting, const TimeoutList& timeouts);

  /// Whether an entry in this state may be evicted early although it is assured.
  bool is_closing() const {
    return phase == SctpPhase::shutdown_sent || phase == SctpPhase::shutdown_recd ||
           phase == SctpPhase::shutdown_ack_sent;
  }
};
static_assert(sizeof(SctpState) == 16);

/// Whether the CRC32c of the packet that fills `l4` is right (RFC 9260 section 6.8). Requires: a
/// whole common header.
bool is_sctp_checksum_right(Bytes l4);

}  // namespace weir::conntrack
