#pragma once

#include "base/error.h"

namespace weir::daemon {

/// From now on this process can make only the system calls that a running engine makes; any other
/// one fails with EPERM. No program can be started, no process made, no socket but unix and
/// internet ones. Needs no_new_privs. Errors: ENOSYS when the kernel has no seccomp filters.
Result<void> allow_engine_calls();

/// From now on this process can start no program and make no process, and reach into no other.
Result<void> forbid_programs();

}  // namespace weir::daemon
