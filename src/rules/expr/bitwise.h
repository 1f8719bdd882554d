#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `bitwise`: masks, combines or shifts a register.
extern const ExpressionKind kBitwise;

}  // namespace weir::rules
