#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `numgen`: the next number, or a random one, below a modulus.
extern const ExpressionKind kNumgen;

}  // namespace weir::rules
