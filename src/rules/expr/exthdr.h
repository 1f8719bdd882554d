#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `exthdr`: reads, writes and removes IPv6 extension headers, TCP and IPv4 options.
extern const ExpressionKind kExthdr;

}  // namespace weir::rules
