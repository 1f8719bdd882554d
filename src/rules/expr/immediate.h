#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `immediate`: writes a constant into a register, or decides (verdicts, jumps).
extern const ExpressionKind kImmediate;

}  // namespace weir::rules
