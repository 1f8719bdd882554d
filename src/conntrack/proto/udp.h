#pragma once

#include "base/bytes.h"
#include "base/clock.h"
#include "conntrack/proto/step.h"
#include "conntrack/sysctl.h"

namespace weir::conntrack {

/// UDP (RFC 768). Behaviour: nf_conntrack_udp_packet of Linux 6.18. Plain data inside the entry,
/// guarded by its lock.
class UdpState {
 public:
  Step on_packet(const Sighting& sighting, const TimeoutList& timeouts);

 private:
  Time stream_from_{};  // A flow that is still answered after this is a stream.
};
static_assert(sizeof(UdpState) == 8);

/// Whether the header at the beginning of `l4` can be believed: Reason::none, or why not.
Reason check_udp(Bytes l4);

}  // namespace weir::conntrack
