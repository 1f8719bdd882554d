#pragma once

#include <cstddef>
#include <expected>

#include "base/bytes.h"
#include "conntrack/proto/step.h"
#include "conntrack/sysctl.h"

namespace weir::conntrack {

/// UDPLite (RFC 3828), as nf_conntrack_proto_udp.c tracks it. It has UDP's timeouts, but no
/// probation: the first answer makes it a stream.
Step track_udplite(const Sighting& sighting, const TimeoutList& timeouts);

/// How much the checksum of the packet that fills `l4` covers, from the header on (RFC 3828 section
/// 3.1). Errors: `truncated`, `checksum_coverage`, `udplite_no_checksum`.
std::expected<std::size_t, Reason> udplite_coverage(Bytes l4);

}  // namespace weir::conntrack
