#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `rt`: what routing decided about the packet: next hop, MSS that its path carries.
extern const ExpressionKind kRt;

}  // namespace weir::rules
