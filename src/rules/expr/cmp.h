#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `cmp`: compares a register with a constant.
extern const ExpressionKind kCmp;

}  // namespace weir::rules
