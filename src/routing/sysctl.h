#pragma once

#include <string>

#include "routing/types.h"

namespace weir::routing {

/// The settings under /proc/sys/net of the calling thread's network namespace. A file that isn't
/// there counts as zero.
InterfaceSettings read_interface_settings(const std::string& interface);
GlobalSettings read_global_settings();

}  // namespace weir::routing
