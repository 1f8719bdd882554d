#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "io/af_xdp.h"
#include "io/choose.h"
#include "io/port.h"

namespace weir::io {

/// A port's device by whichever driver was chosen for it (choose.h), still without queues: only
/// descriptors, which may be handed to another process.
struct WirePort {
  std::uint32_t ifindex = 0;
  Choice choice;
  std::vector<FileDescriptor> packet_sockets;  // Of af_packet.
  std::optional<XdpDescriptors> xdp;           // Of af_xdp.
};

struct WirePortOptions {
  std::string device;
  std::size_t workers = 1;
  Wish wish;
};

/// Chooses and opens; needs privileges. When "auto" has chosen AF_XDP and the device then refuses,
/// it is AF_PACKET after all, and the choice says why. Errors: ENODEV, EPERM, EBUSY, EINVAL.
Result<WirePort> open_wire_port(const WirePortOptions& options);

struct WireQueueOptions {
  std::size_t workers = 1;
  std::size_t port = 0;  // Its number: ports begin with different workers.
};

/// One queue for each worker; needs no privileges.
Result<std::vector<std::unique_ptr<Queue>>> make_wire_queues(WirePort port,
                                                             const WireQueueOptions& options);

}  // namespace weir::io
