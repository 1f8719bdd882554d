#pragma once

#include "base/error.h"
#include "netlink/attributes.h"
#include "netlink/writer.h"
#include "rules/ruleset.h"

namespace weir::control::nftables {

/// Reads NFTA_CHAIN_HOOK and NFTA_CHAIN_TYPE of a NEWCHAIN: type, hook, priority, devices
/// (nft_chain_parse_hook). Errors: ENOENT for missing parts or an unknown type, EOPNOTSUPP for a
/// hook that the type can't stand at, EINVAL for an ingress chain without device.
Result<rules::BaseChain> parse_base(const netlink::Attributes& chain, rules::Family family);

/// Writes NFTA_CHAIN_HOOK.
void write_hook(netlink::Writer& writer, const rules::BaseChain& base, rules::Family family);

}  // namespace weir::control::nftables
