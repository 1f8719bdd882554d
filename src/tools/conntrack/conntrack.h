#pragma once

namespace weir::tools {

/// `weir conntrack`: conntrack(8)'s commands and output, and more, for the engine and the kernel.
int conntrack_main(int argc, char** argv);

}  // namespace weir::tools
