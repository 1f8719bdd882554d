#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "io/port.h"

namespace weir::io {

/// The host's side of one port: a TAP that the host's own packets for that port come out of and
/// that packets for the host are written to (HostHooks leads them). It exists as long as its
/// queues.
struct HostTap {
  std::string device;
  std::uint32_t ifindex = 0;
  std::vector<std::unique_ptr<Queue>> queues;  // One a worker.
};

/// Creates the TAP of the port with this ifindex, up, without IPv6, with all offloads.
/// Errors: EPERM without CAP_NET_ADMIN; ENOENT when /dev/net/tun is missing.
Result<HostTap> open_host_tap(std::uint32_t port_ifindex, std::size_t queues);

}  // namespace weir::io
