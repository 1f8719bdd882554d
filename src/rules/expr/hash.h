#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `hash`: a number below a modulus from a register (jhash) or from the packet's flow, the same in
/// both directions (symhash).
extern const ExpressionKind kHash;

}  // namespace weir::rules
