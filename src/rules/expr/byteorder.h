#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `byteorder`: converts between host and network order.
extern const ExpressionKind kByteorder;

}  // namespace weir::rules
