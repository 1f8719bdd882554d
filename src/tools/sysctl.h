#pragma once

namespace weir::tools {

/// `weir sysctl NAME[=VALUE]… | -a`: shows and changes the engine's knobs. Returns the exit code.
int sysctl_main(int argc, char** argv);

}  // namespace weir::tools
