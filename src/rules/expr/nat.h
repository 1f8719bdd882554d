#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `nat`: maps the connection's source or destination.
extern const ExpressionKind kNat;

}  // namespace weir::rules
