#include "conntrack/proto/udp.h"

#include <chrono>

#include "base/endian.h"
#include "conntrack/status.h"

namespace weir::conntrack {
namespace {

constexpr Duration kProbation = std::chrono::seconds(2);
constexpr std::size_t kHeaderBytes = 8;

}  // namespace

/// UDP has no handshake. A flow earns the stream timeout, and is assured, once it has been answered
/// and is still in use two seconds after it began; a single question and answer never does.
Step UdpState::on_packet(const Sighting& sighting, const TimeoutList& timeouts) {
  if (sighting.first) stream_from_ = sighting.now + kProbation;

  const bool is_stream = sighting.seen_reply && sighting.now > stream_from_;
  if (!is_stream) return {.timeout = timeouts[timeout::kUnreplied]};
  return {.timeout = timeouts[timeout::kStream],
          .assured = true,
          .events = sighting.assured ? 0 : event::kAssured};
}

Reason check_udp(Bytes l4) {
  if (l4.size() < kHeaderBytes) return Reason::truncated;
  const std::uint16_t length = Be16{load<std::uint16_t>(&l4[4])}.host();
  if (length < kHeaderBytes || length > l4.size()) return Reason::udp_length;
  return Reason::none;
}

}  // namespace weir::conntrack
