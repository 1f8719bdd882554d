#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "conntrack/tuple.h"

namespace weir::conntrack {

/// What the table tells a protocol tracker about the packet at hand, beside the transport header.
/// Status bits are as they were before this packet: SEEN_REPLY is not yet set by the first answer.
struct Sighting {
  Time now{};
  Direction direction = Direction::original;
  bool first = false;  // The packet that makes the entry, or another one before it is confirmed.
  bool seen_reply = false;     // IPS_SEEN_REPLY
  bool assured = false;        // IPS_ASSURED
  bool fixed_timeout = false;  // IPS_FIXED_TIMEOUT
  Duration expires_in{};       // What is left of the entry's timeout.
};

/// What becomes of the packet and its entry.
enum class Outcome : std::uint8_t {
  accept,   // The packet belongs to the entry.
  invalid,  // The packet goes on without an entry (ct state INVALID); a new entry is not made.
  drop,     // The packet is dropped.
  reopen,   // Delete the entry and look the packet up again: it begins a new connection.
  remove,   // The packet belongs to the entry and is counted; the entry is deleted at once.
};

/// Why a tracker did not take a packet at face value. With Outcome::invalid it is the reason; with
/// Outcome::accept it says why the packet was let through without the entry learning from it.
/// Adding one: add it here and its text in kReasonTexts, in the same place.
enum class Reason : std::uint8_t {
  none,
  truncated,
  bad_checksum,
  tcp_flags,
  tcp_not_a_beginning,
  tcp_loose_off,
  tcp_state,
  tcp_ignored_in_state,
  tcp_challenge_ack,
  tcp_reset_not_in_sequence,
  tcp_overshot_window,
  tcp_seq_over_window,
  tcp_ack_of_unseen_data,
  tcp_seq_under_window,
  tcp_ack_too_old,
  not_trackable,
  udp_length,
  icmp_type,
  icmp_not_a_beginning,
  icmp_quote_unreadable,
  icmp_quote_unknown,
  icmp_quote_elsewhere,
  icmp_redirect,
  sctp_chunks,
  sctp_not_a_beginning,
  sctp_tag,
  sctp_state,
  dccp_header,
  dccp_type,
  dccp_not_a_beginning,
  dccp_state,
  dccp_ignored_in_state,
  checksum_coverage,
  udplite_no_checksum,
  gre_protocol,
  count,
};

inline constexpr std::array<std::string_view, static_cast<std::size_t>(Reason::count)>
    kReasonTexts = {
        "none",
        "the transport header is truncated",
        "the transport checksum is wrong",
        "these TCP flags can't stand together",
        "this TCP segment can't begin a connection",
        "the connection began unseen and tcp_loose is off",
        "no such TCP segment is due in this state",
        "let through without effect: client and server may know more than the state says",
        "a challenge ACK, not the last ACK of the connection",
        "the RST is not at the sequence number that the peer expects",
        "let through without effect: more bytes than the receiver's window takes",
        "SEQ is beyond the receiver's window",
        "ACK of data that were never seen",
        "let through without effect: data before the receiver's window",
        "let through without effect: ACK is too old",
        "no header here tells which connection it belongs to",
        "UDP's length field does not fit the packet",
        "no such ICMP type exists",
        "this ICMP message neither begins nor answers anything",
        "the packet that this ICMP error quotes can't be read",
        "the packet that this ICMP error quotes belongs to no connection",
        "the packet that this ICMP error quotes did not come from where the error goes",
        "a redirect that no router on the link can have sent",
        "these SCTP chunks can't stand together, or one has no length",
        "this SCTP packet can't begin an association",
        "the verification tag is not the association's",
        "no such SCTP chunk is due in this state",
        "the DCCP header's lengths don't fit each other or its type",
        "no such DCCP packet type exists",
        "this DCCP packet can't begin a connection",
        "no such DCCP packet is due in this state",
        "let through without effect: client and server may know more than the state says",
        "the checksum covers less than the header or more than there is",
        "UDPLite always has a checksum",
        "GRE version 1 that carries no PPP",
};

/// What a tracker decided. The table applies it: `timeout` unless the entry's is fixed, `assured`
/// as IPS_ASSURED, `events` into the packet's event bits (1 << IPCT_*; the tracker includes
/// IPCT_ASSURED).
struct Step {
  std::optional<Duration> timeout{};  // The entry's new timeout from `now` on; none keeps the old.
  bool assured = false;               // Set IPS_ASSURED (it is never cleared).
  bool counted = true;                // The packet counts in the entry's packet and byte counters.
  Outcome outcome = Outcome::accept;
  Reason reason = Reason::none;
  std::uint32_t events = 0;
};

}  // namespace weir::conntrack
