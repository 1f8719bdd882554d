#pragma once

#include <array>
#include <cstdint>
#include <expected>

#include "base/bytes.h"
#include "conntrack/proto/step.h"
#include "conntrack/sysctl.h"
#include "conntrack/tuple.h"

namespace weir::conntrack {

/// The states of a tracked DCCP connection; the values are the kernel's enum ct_dccp_states, which
/// is what ctnetlink carries and what numbers the timeouts.
enum class DccpPhase : std::uint8_t {
  none = 0,
  request = 1,
  respond = 2,
  partopen = 3,
  open = 4,
  closereq = 5,
  closing = 6,
  timewait = 7,
};

/// "PARTOPEN", as conntrack(8) prints it.
const char* to_string(DccpPhase phase);

/// Packet types (RFC 4340 section 5.1).
enum class DccpType : std::uint8_t {
  request = 0,
  response = 1,
  data = 2,
  ack = 3,
  data_ack = 4,
  close_req = 5,
  close = 6,
  reset = 7,
  sync = 8,
  sync_ack = 9,
};

/// What tracking needs of a DCCP header.
struct DccpHeader {
  DccpType type = DccpType::request;
  std::uint64_t sequence = 0;
  std::uint64_t acknowledged = 0;  // Zero for types without an acknowledgement number.
  std::size_t covered_bytes = 0;   // From the header on, by the checksum (section 9.2).

  /// Reads the header at the beginning of the packet that fills `l4`. Errors: `truncated`,
  /// `dccp_header`, `dccp_type`, `checksum_coverage`.
  static std::expected<DccpHeader, Reason> read(Bytes l4);
};

/// The state of a DCCP connection's tracking (RFC 4340 as seen from the middle; the behaviour is
/// that of nf_conntrack_proto_dccp.c in the kernels that had it). Plain data inside the entry,
/// guarded by its lock; value-initialise it.
struct DccpState {
  std::uint64_t handshake_sequence;  // Of the Response that counts.
  Direction client;                  // Who sent the Request.
  DccpPhase phase;
  DccpType last_type;        // Of the packet that was seen last, or let through
  Direction last_direction;  // without effect.
  std::array<std::uint8_t, 4> unused;

  /// As TcpState::on_packet.
  Step on_packet(const DccpHeader& header, const Sighting& sighting, const TimeoutList& timeouts);

  /// Whether an entry in this state may be evicted early although it is assured.
  bool is_closing() const { return phase >= DccpPhase::closereq; }
};
static_assert(sizeof(DccpState) == 16);

}  // namespace weir::conntrack
