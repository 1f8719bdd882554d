#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `range`: tests whether a register lies between two constants.
extern const ExpressionKind kRange;

}  // namespace weir::rules
