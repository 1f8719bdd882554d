#pragma once

#include <string>

#include "base/error.h"

namespace weir::daemon {

/// From now on this process, and what it starts, can write, make and remove files only below
/// `folder` (empty: nowhere), whatever the file rights say. Reading stays as it is, and so do
/// descriptors that are open. False when the kernel has no Landlock (Linux 5.13) or it is off.
/// Errors: what else refused.
Result<bool> forbid_writing_outside(const std::string& folder);

}  // namespace weir::daemon
