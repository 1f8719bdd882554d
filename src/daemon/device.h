#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "daemon/host.h"
#include "daemon/settings.h"
#include "io/choose.h"
#include "io/port.h"
#include "pipeline/output.h"

namespace weir::daemon {

/// A network device in weir's hands: its queues, and those of the host's side of it. The programs
/// that keep the kernel off are the Host's.
class Device {
 public:
  /// Has the host open the port of that number. Errors: the host's.
  static Result<std::unique_ptr<Device>> open(Host& host, std::uint16_t number,
                                              const PortSettings& port);

  std::uint32_t ifindex() const { return ifindex_; }
  const io::Choice& choice() const { return choice_; }
  /// One for each worker; valid while the Device lives.
  std::vector<pipeline::PortQueues> queues() const;

 private:
  std::uint32_t ifindex_ = 0;
  io::Choice choice_;
  std::vector<std::unique_ptr<io::Queue>> wire_;
  std::vector<std::unique_ptr<io::Queue>> taps_;
};

}  // namespace weir::daemon
