#pragma once

#include "daemon/host.h"

namespace weir::daemon {

/// The privileged process, from its birth to its end. Closes every descriptor but the standard ones
/// and `socket`.
[[noreturn]] void run_keeper(const HostOptions& options, int socket);

}  // namespace weir::daemon
