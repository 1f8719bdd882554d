#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "daemon/settings.h"
#include "io/host_hooks.h"
#include "io/host_tap.h"
#include "io/port.h"
#include "pipeline/output.h"

namespace weir::daemon {

/// A network device in weir's hands: its queues, the host's side of it, and the programs that keep
/// the kernel off. Closing it gives the device back to the host as it was.
class Device {
 public:
  /// Errors: ENODEV when there is no such device; EPERM without rights, saying which.
  static Result<std::unique_ptr<Device>> open(const PortSettings& port, std::size_t workers);

  std::uint32_t ifindex() const { return ifindex_; }
  /// One for each worker; valid while the Device lives.
  std::vector<pipeline::PortQueues> queues() const;

 private:
  std::uint32_t ifindex_ = 0;
  std::vector<std::unique_ptr<io::Queue>> wire_;
  std::vector<std::unique_ptr<io::Queue>> taps_;
  FileDescriptor heartbeat_;
  std::unique_ptr<io::HostHooks> hooks_;  // Goes first.
};

}  // namespace weir::daemon
