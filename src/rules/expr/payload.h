#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `payload`: reads and writes header fields of the packet.
extern const ExpressionKind kPayload;

}  // namespace weir::rules
