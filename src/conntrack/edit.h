#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "conntrack/entry.h"

namespace weir::conntrack {

class Tracker;

/// What ctnetlink (IPCTNL_MSG_CT_NEW) wants changed in a connection, or what a new one is to begin
/// with. Checked by who made it, but for what only the entry's present state decides.
struct Edit {
  /// new = (old & ~mask) ^ value
  struct Mark {
    std::uint32_t value = 0;
    std::uint32_t mask = 0xffffffff;
  };
  /// The same for each byte.
  struct Labels {
    std::array<std::uint8_t, Extension::kLabelBytes> value{};
    std::array<std::uint8_t, Extension::kLabelBytes> mask{};
  };
  struct Tcp {
    struct Flags {
      std::uint8_t value = 0;
      std::uint8_t mask = 0;
    };
    std::optional<TcpPhase> phase;
    std::array<Flags, 2> flags{};  // By Direction.
    std::optional<std::array<std::uint8_t, 2>> scales;
  };
  struct Sctp {
    SctpPhase phase = SctpPhase::none;
    std::array<std::uint32_t, 2> tags{};  // By Direction, as SctpState's.
  };
  struct Dccp {
    DccpPhase phase = DccpPhase::none;
    Direction client = Direction::original;
    std::optional<std::uint64_t> handshake_sequence;
  };
  using Synproxy = std::array<std::uint32_t, 4>;  // As Extension::synproxy.

  std::optional<std::uint16_t> helper;    // By number; zero takes it away.
  Extension::HelperState helper_state{};  // What it begins with.
  std::optional<Duration> timeout;
  std::optional<std::uint32_t> status;  // Bits to set; see check_status().
  std::optional<Tcp> tcp;               // Of these at most the one of the connection's protocol.
  std::optional<Sctp> sctp;
  std::optional<Dccp> dccp;
  std::optional<Mark> mark;
  std::array<std::optional<SequenceAdjustment::Summary>, 2> sequence;
  std::optional<Synproxy> synproxy;
  std::optional<Labels> labels;
};

/// Whether a connection whose status is `old` may be told to have `wanted`: zero, or EBUSY for bits
/// that nobody may change (the kernel's nf_ct_change_status_common).
int check_status(std::uint32_t old, std::uint32_t wanted);

/// Gives a connection that is being made, and that nobody sees yet, its reply tuple: NAT.
class ReplyChooser {
 public:
  /// On the worker that makes the entry. False when there is no free tuple.
  virtual bool choose(Tracker& tracker, std::uint32_t entry, Time now) = 0;

 protected:
  ~ReplyChooser() = default;
};

/// A connection to be made without a packet. Lives until it is made.
struct Creation {
  Tuple original;
  Tuple reply;  // Before `chooser` has changed it.
  Edit edit;    // With a timeout.
  /// The connection by which this one was expected; its family is none when there is none.
  Tuple master_tuple{};
  std::uint32_t master = 0;
  std::uint32_t master_generation = 0;
  ReplyChooser* chooser = nullptr;
  std::uint32_t port_id = 0;  // Of the netlink socket that asked; events carry it.
};

}  // namespace weir::conntrack
