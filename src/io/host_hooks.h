#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/error.h"

namespace weir::io {

/// The fwmark of every frame that the engine sends or injects; the tc programs and the port's
/// socket filter know it. Rules of the host must not use it.
inline constexpr std::uint32_t kEngineMark = 0x77656972;  // "weir"

/// weir's tc programs on one port and its TAP (bpf/port.bpf.c): they keep the kernel from the
/// packets that weir takes and lead the host's own traffic through the engine. Attached by clsact,
/// so they outlive the engine: after a crash nothing passes unfiltered. The destructor detaches
/// them and removes the clsact qdisc when it was weir's.
class HostHooks {
 public:
  struct Devices {
    std::string port;
    std::uint32_t port_ifindex = 0;
    std::uint32_t tap_ifindex = 0;
  };

  /// Loads and attaches, replacing what a dead engine left. Errors: EPERM without CAP_NET_ADMIN and
  /// CAP_BPF, ENOENT when the kernel lacks clsact.
  static Result<std::unique_ptr<HostHooks>> attach(const Devices& devices);

  /// Detaches what an engine that died left on a device. True when there was something.
  static bool remove_leftovers(std::uint32_t ifindex);

  virtual ~HostHooks() = default;
};

}  // namespace weir::io
