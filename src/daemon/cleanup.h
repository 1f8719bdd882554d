#pragma once

namespace weir::daemon {

/// `weir cleanup`: gives back to the host what an engine that died has left. Returns the exit code.
int cleanup_main(int argc, char** argv);

}  // namespace weir::daemon
