#pragma once

#include "base/clock.h"
#include "conntrack/proto/step.h"

namespace weir::conntrack {

/// Protocols without a tracker of their own: whatever passes between the two ends prolongs the
/// connection (nf_conntrack_proto_generic.c).
inline Step track_generic(Duration timeout) { return {.timeout = timeout}; }

}  // namespace weir::conntrack
