#pragma once

#include "base/clock.h"
#include "conntrack/entry.h"

namespace weir::conntrack {

/// Whether an entry that came with a file can be one that an engine has published: what the path
/// takes for granted of it holds, so that damage may lose connections but do nothing else. `now` is
/// the present moment.
bool is_sound(const Entry& entry, Time now);

}  // namespace weir::conntrack
