#pragma once

#include <memory>

#include "daemon/host.h"
#include "io/host_hooks.h"

namespace weir::daemon {

struct HostPortOptions {
  PortSettings settings;
  std::uint16_t workers = 1;
  int heartbeat = -1;
  bool fails_open = false;
  bool takes_over = false;  // Another engine's TAP may be there.
};

/// A port as the privileged process has it: the handles go to the engine, the hooks stay.
struct HostPort {
  PortHandles handles;
  std::unique_ptr<io::HostHooks> hooks;
};

/// Opens one port with all that it consists of; in the privileged process. Errors: ENODEV, EBUSY,
/// EPERM, with the port's name.
Result<HostPort> open_host_port(const HostPortOptions& options);

}  // namespace weir::daemon
