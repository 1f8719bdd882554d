#pragma once

#include <cstdio>

#include "base/error.h"
#include "tools/conntrack/request.h"
#include "tools/netlink_socket.h"

namespace weir::tools::conntrack {

/// How many entries a command has shown or changed.
using Count = std::size_t;

/// Every command but events, top and restore. Output goes to stdout.
Result<Count> run(const Request& request, NetlinkSocket& socket);

/// The table, entry by entry, with what the engine can filter itself already left out.
Result<void> dump_table(const Request& request, NetlinkSocket& socket,
                        const NetlinkSocket::Each& each);

/// The commands of a file, all of them read before the first is run (-R).
Result<Count> restore(const std::string& file, NetlinkSocket& socket);

/// Shows events until SIGINT or SIGTERM; how many. See events.cc about losses.
Result<Count> show_events(const Request& request, NetlinkSocket& socket);

/// Who fills the table (--group-by).
Result<Count> show_groups(const Request& request, NetlinkSocket& socket);

/// The live view, until q.
Result<void> show_top(const Request& request, NetlinkSocket& socket);

/// What an errno of the engine or the kernel means for this command.
std::string explain(const Error& error, const Request& request);

}  // namespace weir::tools::conntrack
