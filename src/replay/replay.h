#pragma once

namespace weir::replay {

/// `weir replay`: sends a capture through the engine, on the capture's clock, and reports what
/// became of it. Returns the exit code: 0 done, 1 the capture or the rules were refused, 2 wrong
/// usage.
int replay_main(int argc, char** argv);

}  // namespace weir::replay
