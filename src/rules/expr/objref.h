#pragma once

#include "rules/expression.h"

namespace weir::rules {

/// `objref`: what a named object does, the object being named by the rule or found in a map.
extern const ExpressionKind kObjref;

}  // namespace weir::rules
