#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `fib`: asks the routing tables about an address: through which interface, or of which type.
extern const ExpressionKind kFib;

}  // namespace weir::rules
