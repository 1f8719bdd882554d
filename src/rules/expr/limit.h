#pragma once

#include "rules/expression.h"
#include "rules/set_state.h"

namespace weir::rules {

/// `limit`: a token bucket over packets or bytes; `over` matches what exceeds it.
extern const ExpressionKind kLimit;

/// Reads NFTA_LIMIT_* as nft_limit_init. The bucket is full; it begins to count time at its first
/// packet. Errors: EINVAL for a rate of zero or missing attributes, EOVERFLOW for rates that the
/// arithmetic can't hold, EOPNOTSUPP for an unknown type.
Result<State> parse_limit(netlink::Region data);
void write_limit(netlink::Writer& writer, const State& state);

/// Takes the packet's price from the bucket (nft_limit_eval). Says whether the rule goes on. Words:
/// tokens in nanoseconds, and when they were counted last; guarded by `lock`.
bool pass_limit(State& state, const Context& context);

}  // namespace weir::rules
