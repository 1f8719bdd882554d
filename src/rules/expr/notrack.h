#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `notrack`: keeps the packet from connection tracking.
extern const ExpressionKind kNotrack;

}  // namespace weir::rules
