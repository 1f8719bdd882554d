#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `reject`: drops the packet and answers with an ICMP error or a TCP reset.
extern const ExpressionKind kReject;

}  // namespace weir::rules
