#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"

namespace weir::engine {

/// How a tool has ended.
struct ToolRun {
  int exit_code = 0;     // 128 + signal when a signal ended it.
  std::string output;    // What it wrote to its standard output,
  std::string messages;  // and to its standard error.
};

/// Runs an unmodified netfilter tool as a child, its netlink sockets leading to the engine at
/// `socket_path`, and waits for it. As any user. `serve` is called again and again until the child
/// has ended: it gives the caller, who may be the very thread that has to answer the tool, time to
/// do so. Errors: ENOENT when the tool (looked for in PATH and the system's sbin folders) or the
/// preload library is missing, saying how to get it.
Result<ToolRun> run_tool(std::vector<std::string> words, const std::string& socket_path,
                         const std::function<void()>& serve);

}  // namespace weir::engine
