#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `log`: writes a line about the packet to the log.
extern const ExpressionKind kLog;

}  // namespace weir::rules
