#pragma once

#include "rules/expression.h"
#include "rules/set_state.h"

namespace weir::rules {

/// `quota`: matches until a number of bytes has come by; `over` matches from then on.
extern const ExpressionKind kQuota;

/// Reads NFTA_QUOTA_* (nft_quota_do_init). Errors: EINVAL without NFTA_QUOTA_BYTES or for flags but
/// NFT_QUOTA_F_INV, EOVERFLOW past 2^63.
Result<State> parse_quota(netlink::Region data);
/// Words: bytes consumed, and for named quotas whether it is known to be depleted.
void write_quota(netlink::Writer& writer, State& state, DumpMode mode);
/// Counts the packet's bytes. Says whether the quota is exceeded now.
bool consume_quota(State& state, const Context& context);

}  // namespace weir::rules
