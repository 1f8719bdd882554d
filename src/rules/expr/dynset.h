#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `dynset`: packets add elements to a set, renew and delete them.
extern const ExpressionKind kDynset;

}  // namespace weir::rules
