#pragma once

#include "base/bytes.h"
#include "base/error.h"
#include "netlink/message.h"
#include "rules/ruleset.h"

namespace weir::control {

/// The whole ruleset as bytes from which restore_ruleset() makes the same again: the messages that
/// a dump consists of, each with what a message can't say (its handle, the order of base chains).
/// Handles, generation and the state of counters, quotas and set elements are in it; of a `limit`
/// only the rate. The ruleset is only read. Appends to `out`.
void save_ruleset(rules::Ruleset& ruleset, netlink::Buffer& out);

/// Makes an empty ruleset what `saved` says, in one transaction. Time has gone on: an element that
/// would have expired since has. The bytes may be damaged. Errors: EINVAL when they are, or of
/// another layout, and whatever a handler says of a message; then the ruleset is empty as before.
/// Requires: no tables.
Result<void> restore_ruleset(rules::Ruleset& ruleset, Bytes saved);

}  // namespace weir::control
