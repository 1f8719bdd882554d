#pragma once

#include <functional>
#include <string>

#include "base/error.h"

namespace weir::engine {

/// Loads a ruleset by netfilter's own tool: starts `nft -f FILE` as a child whose netlink sockets
/// lead to the engine at `socket_path`, and waits for it. As any user. `serve` is called again and
/// again until the child has ended: it gives the caller, who may be the very thread that has to
/// answer nft, time to do so. Errors: EINVAL with nft's own message when it refuses the file;
/// ENOENT when nft or the preload library is missing, saying how to get it.
Result<void> load_rules(const std::string& socket_path, const std::string& file,
                        const std::function<void()>& serve);

}  // namespace weir::engine
