#pragma once

#include "rules/expression.h"
#include "rules/set_state.h"

namespace weir::rules {

/// `last used`: when the rule or element was met last.
extern const ExpressionKind kLast;

/// Words: whether it was ever met, and when (nanoseconds of the clock).
void note_use(State& state, const Context& context);
void write_last(netlink::Writer& writer, State& state, DumpMode mode, Time now);

}  // namespace weir::rules
