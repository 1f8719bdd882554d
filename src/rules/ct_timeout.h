#pragma once

#include <cstdint>
#include <memory>

#include "base/error.h"
#include "conntrack/table.h"
#include "netlink/attributes.h"
#include "netlink/writer.h"
#include "rules/ct_objects.h"
#include "rules/hook.h"
#include "rules/ruleset.h"

namespace weir::rules {

/// How many timeouts a transport protocol has (CTA_TIMEOUT_*, from 1 on): zero for those that have
/// no tracker of their own. 255 stands for them all: the generic one.
std::size_t timeout_count(std::uint8_t protocol);

/// Reads CTA_TIMEOUT_DATA or NFTA_CT_TIMEOUT_DATA: what isn't there is as in `defaults`. Errors:
/// ERANGE.
Result<conntrack::TimeoutList> read_timeouts(netlink::Region data, std::uint8_t protocol,
                                             const conntrack::TimeoutList& defaults);
/// Writes them into an open nest.
void write_timeouts(netlink::Writer& writer, std::uint8_t protocol,
                    const conntrack::TimeoutList& timeouts);

/// `ct timeout`: the connection that the packet begins gets the policy. Errors
/// (nft_ct_timeout_obj_init): EINVAL; EOPNOTSUPP for a protocol without timeouts, or where there
/// are no connections; ENOSPC when there are too many policies.
Result<std::unique_ptr<CtObject>> parse_ct_timeout(netlink::Region data, Family family,
                                                   const Ruleset& ruleset);

}  // namespace weir::rules
