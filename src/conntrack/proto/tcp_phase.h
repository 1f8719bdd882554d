#pragma once

#include "conntrack/proto/tcp.h"

namespace weir::conntrack {

/// What a segment of some kind means to a connection in some phase.
struct TcpDue {
  enum class What : std::uint8_t {
    moves,    // It is expected, and leads to `phase`.
    ignored,  // It may be right or wrong: pass it and watch how the other side answers.
    invalid,  // Neither side sends it now.
  };
  What what = What::invalid;
  TcpPhase phase = TcpPhase::none;
};

/// The kind that the flags make a segment.
TcpKind kind_of(const TcpSegment& segment);

/// Looks up the connection's next phase. The window is not considered.
TcpDue tcp_due(Direction direction, TcpKind kind, TcpPhase phase);

}  // namespace weir::conntrack
