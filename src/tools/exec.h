#pragma once

namespace weir::tools {

/// `weir exec [--socket PATH] -- TOOL ARGS…`: becomes TOOL, whose netfilter netlink sockets then
/// reach the engine instead of the kernel. Returns an exit code only when it can't.
int exec_main(int argc, char** argv);

}  // namespace weir::tools
