// A DCCP connection as seen from the middle.
//
// RFC 4340 section 8 gives each end a state; we keep one for both, by what has passed. As with TCP,
// packets may be lost after us, so a phase says what the senders have certainly done.
//
//   REQUEST   the client has asked                       CLOSEREQ  the server wants the client to
//   RESPOND   the server has answered                              close
//   PARTOPEN  the client has acknowledged that           CLOSING   one side has sent Close
//   OPEN      and the server has sent something since    TIMEWAIT  a Reset has been seen
//
// A packet that is wrong only if we are right passes without effect (`ignored`): the ends may have
// begun a connection that we did not see. The Response that answers such a Request is believed.
// Only a Request begins an entry: without the handshake the roles can't be told.

#include "conntrack/proto/dccp.h"

#include "conntrack/status.h"
#include "wire/udp.h"

namespace weir::conntrack {
namespace {

using enum DccpPhase;
using Type = DccpType;

constexpr std::uint8_t kFirstReserved = 10;

/// What a packet does in a phase.
struct Due {
  enum class What : std::uint8_t { moves, ignored, invalid };
  What what = What::invalid;
  DccpPhase phase = none;
};

constexpr Due to(DccpPhase phase) { return {Due::What::moves, phase}; }
constexpr Due kIgnored{Due::What::ignored, none};
constexpr Due kInvalid{Due::What::invalid, none};

/// Of these types there is one rule for both sides.
constexpr Due due_from_either(Type type, DccpPhase phase) {
  if (phase == none) return kInvalid;
  if (type != Type::reset) return kIgnored;  // Sync, SyncAck: section 7.5.4.
  return phase == timewait ? kIgnored : to(timewait);
}

constexpr Due due_from_client(Type type, DccpPhase phase) {
  switch (type) {
    case Type::request:  // The first, a repeated one, or a new life (section 8.1.1).
      if (phase == none || phase == request || phase == timewait) return to(request);
      return phase == respond ? to(respond) : kIgnored;
    case Type::response:  // The roles may have changed without our noticing.
      return phase == none || phase == timewait ? kInvalid : kIgnored;
    case Type::ack:
    case Type::data_ack:  // Section 8.1.5.
      if (phase == respond || phase == partopen) return to(partopen);
      return phase == open || phase == closereq || phase == closing ? to(phase) : kInvalid;
    case Type::data:  // Not in PARTOPEN: section 8.1.5.
      return phase == open || phase == closereq || phase == closing ? to(phase) : kInvalid;
    case Type::close_req:  // The server's alone: section 8.3.
      return kInvalid;
    case Type::close:
      return phase >= partopen && phase <= closing ? to(closing) : kInvalid;
    default:
      return due_from_either(type, phase);
  }
}

constexpr Due due_from_server(Type type, DccpPhase phase) {
  switch (type) {
    case Type::request:  // After the end the server may call back: roles are exchanged.
      if (phase == none) return kInvalid;
      return phase == timewait ? to(request) : kIgnored;
    case Type::response:
      if (phase == none || phase == timewait) return kInvalid;
      return phase == request || phase == respond ? to(respond) : kIgnored;
    case Type::ack:
    case Type::data:
    case Type::data_ack:  // Section 8.1.5: anything but Response and Sync opens.
      if (phase == partopen || phase == open) return to(open);
      return phase == closing ? to(closing) : kInvalid;
    case Type::close_req:
      return phase >= partopen && phase <= closing ? to(closereq) : kInvalid;
    case Type::close:
      return phase == partopen || phase == open || phase == closing ? to(closing) : kInvalid;
    default:
      return due_from_either(type, phase);
  }
}

constexpr bool has_acknowledgement(Type type) {
  return type != Type::request && type != Type::data;
}

/// Short sequence numbers are for these three (section 5.1).
constexpr bool may_be_short(Type type) {
  return type == Type::data || type == Type::ack || type == Type::data_ack;
}

std::uint64_t read_number(const std::uint8_t* at, std::size_t bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | at[i];
  return value;
}

}  // namespace

const char* to_string(DccpPhase phase) {
  static constexpr std::array<const char*, 8> kNames = {"NONE", "REQUEST",  "RESPOND", "PARTOPEN",
                                                        "OPEN", "CLOSEREQ", "CLOSING", "TIMEWAIT"};
  return kNames[static_cast<std::size_t>(phase)];
}

std::expected<DccpHeader, Reason> DccpHeader::read(Bytes l4) {
  const auto* const raw = wire::view<wire::Dccp>(l4);
  if (raw == nullptr) return std::unexpected(Reason::truncated);
  if (raw->type() >= kFirstReserved) return std::unexpected(Reason::dccp_type);

  DccpHeader header{.type = static_cast<Type>(raw->type())};
  const bool is_long = raw->has_long_sequence();
  const std::size_t offset = raw->header_bytes();
  if (offset > l4.size()) return std::unexpected(Reason::truncated);
  if (wire::dccp_fixed_bytes(l4) == 0 || (!is_long && !may_be_short(header.type))) {
    return std::unexpected(Reason::dccp_header);
  }
  header.sequence = is_long ? read_number(&l4[10], 6) : read_number(&l4[9], 3);
  if (has_acknowledgement(header.type)) {
    header.acknowledged = is_long ? read_number(&l4[18], 6) : read_number(&l4[13], 3);
  }

  const std::size_t coverage = l4[5] & 0x0f;
  header.covered_bytes = coverage == 0 ? l4.size() : offset + (coverage - 1) * 4;
  if (header.covered_bytes > l4.size()) return std::unexpected(Reason::checksum_coverage);
  return header;
}

Step DccpState::on_packet(const DccpHeader& header, const Sighting& sighting,
                          const TimeoutList& timeouts) {
  const Direction way = sighting.direction;
  if (sighting.first) {
    *this = {};
    if (header.type != Type::request) {
      return {.outcome = Outcome::invalid, .reason = Reason::dccp_not_a_beginning};
    }
  }
  // Refused at once: nothing to remember.
  if (header.type == Type::reset && !sighting.seen_reply) return {.outcome = Outcome::remove};

  const DccpPhase from = phase;
  const bool is_client = way == client;
  Due due = is_client ? due_from_client(header.type, from) : due_from_server(header.type, from);
  if (due.what == Due::What::invalid) {
    return {.outcome = Outcome::invalid, .reason = Reason::dccp_state};
  }
  const bool answers_ignored = due.what == Due::What::ignored && header.type == Type::response &&
                               last_type == Type::request && last_direction != way;
  if (answers_ignored) {
    client = opposite(way);
    due = to(respond);
  }
  if (due.phase == respond && header.type == Type::response &&
      (answers_ignored || from == request)) {
    handshake_sequence = header.sequence;
  }
  last_type = header.type;
  last_direction = way;
  if (due.what == Due::What::ignored) {
    return {.counted = false, .reason = Reason::dccp_ignored_in_state};
  }
  if (due.phase == request && !is_client) client = way;
  phase = due.phase;

  Step step{.timeout = timeouts[static_cast<std::size_t>(phase)]};
  if (from != phase) step.events |= event::kProtoInfo;
  const bool completes = from == respond && phase == partopen && header.type == Type::ack &&
                         header.acknowledged == handshake_sequence;
  if (completes) {
    step.assured = true;
    if (!sighting.assured) step.events |= event::kAssured;
  }
  return step;
}

}  // namespace weir::conntrack
