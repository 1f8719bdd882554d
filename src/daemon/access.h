#pragma once

#include "base/error.h"
#include "control/server/access.h"
#include "control/server/listener.h"
#include "daemon/privileges.h"
#include "daemon/settings.h"

namespace weir::daemon {

class Separation;

/// Who may read and who may change, by the settings; and the engine's own nft. Errors: EINVAL for a
/// user or group that doesn't exist.
Result<control::AccessPolicy> access_policy(const Settings& settings, const Separation& parts);

/// Whose the socket's file is: the engine's user's and its group's, unless the settings say
/// otherwise. Errors: EINVAL for a user or group that doesn't exist, or a mode that is none.
Result<control::SocketFile> socket_file(const Settings& settings, const Identity& identity);

}  // namespace weir::daemon
