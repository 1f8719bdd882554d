#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `meta`: reads and writes what is known of a packet beside its bytes.
extern const ExpressionKind kMeta;

}  // namespace weir::rules
