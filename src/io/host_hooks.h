#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"

namespace weir::io {

/// The fwmark of every frame that the engine sends or injects; the tc programs and the port's
/// socket filter know it. Rules of the host must not use it.
inline constexpr std::uint32_t kEngineMark = 0x77656972;  // "weir"

/// weir's tc programs on one port and its TAP (bpf/port.bpf.c): they keep the kernel from the
/// packets that weir takes and lead the host's own traffic through the engine. Attached by clsact,
/// so they outlive the engine: after a crash nothing passes unfiltered. The destructor detaches
/// them, unless another engine has replaced them, and removes the clsact qdisc when weir made it
/// and nobody else has a filter in it.
class HostHooks {
 public:
  struct Devices {
    std::string port;
    std::uint32_t port_ifindex = 0;
    std::uint32_t tap_ifindex = 0;
    int heartbeat = -1;            // make_heartbeat()'s.
    bool has_generic_xdp = false;  // The port has an XDP program in generic mode (af_xdp.h).
    bool fails_open = false;       // Without a heartbeat for a second the kernel gets the packets.
  };

  /// Loads and attaches; programs that are there already (a dead engine's, or one's that hands
  /// over) are replaced one by one, without a moment without. Errors: EPERM without CAP_NET_ADMIN
  /// and CAP_BPF, ENOENT when the kernel lacks clsact.
  static Result<std::unique_ptr<HostHooks>> attach(const Devices& devices);

  /// Whether a device bore programs of weir before: a dead engine's, as a rule.
  virtual bool has_replaced_others() const = 0;
  /// The programs stay when this object goes.
  virtual void leave() = 0;

  virtual ~HostHooks() = default;
};

/// The map that the engine beats in and the programs of all its ports look at: one 64-bit number,
/// nanoseconds of CLOCK_BOOTTIME, at the start of a page that may be mapped. Errors: EPERM.
Result<FileDescriptor> make_heartbeat();

/// A device that bears weir's programs.
struct HookedDevice {
  std::string device;
  std::uint32_t ifindex = 0;
  bool has_engine = false;  // A running engine has a TAP for it; else the programs are leftovers.
  bool has_own_qdisc = false;
};

/// Devices of this network namespace with weir's programs.
std::vector<HookedDevice> find_hooked_devices();

/// Detaches weir's programs from a device, whoever attached them. True when there were any.
bool remove_hooks(std::uint32_t ifindex);

}  // namespace weir::io
