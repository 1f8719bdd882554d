#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `ct`: reads or sets what connection tracking knows of the packet.
extern const ExpressionKind kCt;

}  // namespace weir::rules
