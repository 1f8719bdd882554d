#pragma once

#include "base/clock.h"
#include "base/error.h"

namespace weir::test {

/// Makes every conntrack entry of this namespace older: takes `time` off its remaining timeout by
/// ctnetlink; entries whose time is over expire.
Result<void> age_table(Duration time);

}  // namespace weir::test
