#pragma once

#include "base/error.h"
#include "engine/engine.h"
#include "tests/support/scenario.h"

namespace weir::test {

/// Puts a scenario's sysctls into the engine's options. Those that belong to routing are left out:
/// the mirror reads them. Fails for one that the engine has no setting for.
Result<void> apply_sysctls(const Network& network, engine::Options& options);

}  // namespace weir::test
