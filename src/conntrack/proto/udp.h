#pragma once

#include <chrono>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/endian.h"
#include "conntrack/proto/step.h"
#include "conntrack/status.h"
#include "conntrack/sysctl.h"

namespace weir::conntrack {

/// UDP (RFC 768). Behaviour: nf_conntrack_udp_packet of Linux 6.18. Plain data inside the entry,
/// guarded by its lock.
class UdpState {
 public:
  /// UDP has no handshake. A flow earns the stream timeout, and is assured, once it has been
  /// answered and is still in use two seconds after it began; a single question and answer never
  /// does.
  Step on_packet(const Sighting& sighting, const TimeoutList& timeouts) {
    if (sighting.first) stream_from_ = sighting.now + kProbation;

    const bool is_stream = sighting.seen_reply && sighting.now > stream_from_;
    if (!is_stream) return {.timeout = timeouts[timeout::kUnreplied]};
    return {.timeout = timeouts[timeout::kStream],
            .assured = true,
            .events = sighting.assured ? 0 : event::kAssured};
  }

 private:
  static constexpr Duration kProbation = std::chrono::seconds(2);

  Time stream_from_{};  // A flow that is still answered after this is a stream.
};
static_assert(sizeof(UdpState) == 8);

/// Whether the header at the beginning of `l4` can be believed: Reason::none, or why not.
inline Reason check_udp(Bytes l4) {
  constexpr std::size_t kHeaderBytes = 8;
  if (l4.size() < kHeaderBytes) return Reason::truncated;
  const std::uint16_t length = Be16{load<std::uint16_t>(&l4[4])}.host();
  if (length < kHeaderBytes || length > l4.size()) return Reason::udp_length;
  return Reason::none;
}

}  // namespace weir::conntrack
