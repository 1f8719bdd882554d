#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "io/port.h"

namespace weir::io {

/// The host's side of one port: a TAP that the host's own packets for that port come out of and
/// that packets for the host are written to (HostHooks leads them). It exists as long as a process
/// has one of its queues.
struct HostTap {
  std::string device;
  std::uint32_t ifindex = 0;
  std::vector<FileDescriptor> queues;  // One a worker.
};

/// The step that needs CAP_NET_ADMIN: creates the TAP of the port with this ifindex, up, without
/// IPv6, with all offloads. `takes_over` allows that another engine has one for the same port. The
/// TAP of an engine that is just dying is waited for. Errors: EPERM without rights; ENOENT when
/// /dev/net/tun is missing; EBUSY when the port is another engine's.
Result<HostTap> open_host_tap(std::uint32_t port_ifindex, std::size_t queues,
                              bool takes_over = false);

/// The queues of these descriptors; needs no rights.
std::vector<std::unique_ptr<Queue>> make_tap_queues(std::vector<FileDescriptor> taps);

/// Whether a running engine has a TAP for the port with this ifindex.
bool has_host_tap(std::uint32_t port_ifindex);

}  // namespace weir::io
