#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "io/port.h"

namespace weir::io {

/// A port whose frames come by AF_XDP: an XDP program (bpf/xdp.bpf.c) hands the IP packets that
/// weir takes to sockets, one for each receive queue of the device, and leaves the rest to the
/// kernel. For devices whose frames are whole (io/choose.h). Opening is two steps, so that the
/// engine needs no rights: open_xdp() takes them and yields descriptors, which may be handed to
/// another process; make_xdp_queues() works on descriptors only.
struct XdpOptions {
  std::string device;
  std::uint32_t ifindex = 0;
  std::size_t workers = 1;
  bool allows_generic = false;   // Without native XDP, take the generic one instead of failing.
  bool has_live_frames = false;  // Frames leave by live-frame transmission (io/live_frames.h).
};

/// What an open AF_XDP port consists of. Closing `link` takes the program off the device.
struct XdpDescriptors {
  std::uint32_t ifindex = 0;
  std::uint32_t workers = 1;
  bool is_native = false;
  FileDescriptor link;                  // The program's attachment to the device.
  FileDescriptor program;               // The program itself.
  std::vector<FileDescriptor> sockets;  // AF_XDP, in the program's map by receive queue; not bound.
  FileDescriptor memory;                // Their frames, registered already: an equal share each.
  FileDescriptor live_slots;  // With live frames: the maps that packets are put into. Else closed.
  FileDescriptor live_control;
  std::vector<FileDescriptor>
      senders;  // AF_PACKET: for workers without a socket, and a few live frames.
};

/// Needs CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF, and CAP_IPC_LOCK or enough memory that may be locked
/// (RLIMIT_MEMLOCK). Errors: EPERM without them; ENOBUFS; EINVAL when the device's MTU is too
/// large; EOPNOTSUPP when the device has no native XDP (and generic isn't allowed); EBUSY when it
/// has another XDP program.
Result<XdpDescriptors> open_xdp(const XdpOptions& options);

struct XdpQueueOptions {
  std::size_t first_worker = 0;  // Who gets receive queue 0; the others follow in turn.
};

/// One queue for each worker. Needs no rights.
Result<std::vector<std::unique_ptr<Queue>>> make_xdp_queues(XdpDescriptors descriptors,
                                                            const XdpQueueOptions& options);

/// Frames of a socket's memory: for receiving, 4 ms at two million packets a second, and for
/// sending.
inline constexpr std::uint32_t kXdpFrames = 8192;
inline constexpr std::uint32_t kXdpSendFrames = 2048;

/// The largest MTU that an AF_XDP port can have.
inline constexpr std::uint32_t kMaxXdpMtu = 3400;

}  // namespace weir::io
