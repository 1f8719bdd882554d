#pragma once

namespace weir::tools {

/// `weir stats`: prints the engine's counters. Returns the exit code.
int stats_main(int argc, char** argv);

}  // namespace weir::tools
