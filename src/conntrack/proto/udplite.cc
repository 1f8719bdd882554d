#include "conntrack/proto/udplite.h"

#include "conntrack/status.h"
#include "wire/udp.h"

namespace weir::conntrack {

Step track_udplite(const Sighting& sighting, const TimeoutList& timeouts) {
  if (!sighting.seen_reply) return {.timeout = timeouts[timeout::kUnreplied]};
  return {.timeout = timeouts[timeout::kStream],
          .assured = true,
          .events = sighting.assured ? 0 : event::kAssured};
}

std::expected<std::size_t, Reason> udplite_coverage(Bytes l4) {
  const auto* const header = wire::view<wire::Udp>(l4);
  if (header == nullptr) return std::unexpected(Reason::truncated);
  const std::size_t coverage = header->length() == 0 ? l4.size() : header->length();
  if (coverage < sizeof(wire::Udp) || coverage > l4.size()) {
    return std::unexpected(Reason::checksum_coverage);
  }
  if (!header->has_checksum()) return std::unexpected(Reason::udplite_no_checksum);
  return coverage;
}

}  // namespace weir::conntrack
