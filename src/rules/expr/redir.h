#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `redir`: maps the connection's destination to this host.
extern const ExpressionKind kRedir;

}  // namespace weir::rules
