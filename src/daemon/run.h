#pragma once

namespace weir::daemon {

/// `weir run`: forwards packets between network ports until it is told to stop. Returns the exit
/// code.
int run_main(int argc, char** argv);

}  // namespace weir::daemon
