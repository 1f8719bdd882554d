#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `masq`: maps the connection's source to the address of the interface that it leaves by.
extern const ExpressionKind kMasq;

}  // namespace weir::rules
