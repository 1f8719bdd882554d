#pragma once

#include <optional>

#include "conntrack/tuple.h"

namespace weir::conntrack {

/// The tuple of the answer to a packet with `tuple`: ends swapped, ICMP's type the answer's.
/// Nothing for ICMP and ICMPv6 types that have no answer (the kernel's nf_ct_invert_tuple).
std::optional<Tuple> invert(const Tuple& tuple);

}  // namespace weir::conntrack
