#pragma once

#include <string>
#include <string_view>

namespace weir::tools {

/// Whether this process's netlink sockets lead to the engine already.
bool is_under_preload();

/// Starts `weir COMMAND` again under the preload library, so that its netlink sockets lead to the
/// engine. `argv` as main() of the command has got it; an empty `socket_path` means the default.
/// Returns an exit code only when it can't.
int run_under_preload(std::string_view command, const std::string& socket_path, int argc,
                      char** argv);

}  // namespace weir::tools
