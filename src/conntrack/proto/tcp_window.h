#pragma once

#include "conntrack/proto/tcp.h"

namespace weir::conntrack {

/// Sequence numbers wrap around; "before" is within half their space (RFC 9293 section 3.4).
constexpr bool is_before(std::uint32_t a, std::uint32_t b) {
  return static_cast<std::int32_t>(a - b) < 0;
}
constexpr bool is_after(std::uint32_t a, std::uint32_t b) { return is_before(b, a); }

/// How a segment lies to the windows of both sides.
struct TcpFit {
  enum class What : std::uint8_t {
    fits,     // Both sides' numbers have been brought up to date.
    ignored,  // Just outside, as happens in good faith: pass it, learn nothing from it.
    invalid,  // Outside.
  };
  What what = What::fits;
  Reason reason = Reason::none;
};

/// Checks the segment against the windows, and learns from it when it fits.
TcpFit fit_window(TcpState& state, const TcpSegment& segment, Direction direction,
                  const TcpSettings& settings);

/// Takes over what a SYN's options announce for its sender. A SYN without any option changes
/// nothing.
void learn_announced(TcpState& state, Direction sender, const TcpSegment& syn);

}  // namespace weir::conntrack
