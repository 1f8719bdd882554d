#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "io/port.h"

namespace weir::io {

/// The queues of one device by AF_PACKET, for devices whose packets may be 64 KB segments with
/// unfinished checksums (PACKET_VNET_HDR). Several queues share the device's packets by a hash of
/// the flow that is the same in both directions (PACKET_FANOUT_HASH).
struct AfPacketOptions {
  std::string device;
  std::uint32_t ifindex = 0;
  std::size_t queues = 1;
};

/// The step that needs CAP_NET_RAW and CAP_NET_ADMIN: one bound socket for each queue, which may be
/// handed to another process. Errors: EPERM without rights, ENODEV when the device is gone.
Result<std::vector<FileDescriptor>> open_packet_sockets(const AfPacketOptions& options);

/// The queues of these sockets; needs no rights.
Result<std::vector<std::unique_ptr<Queue>>> make_packet_queues(std::vector<FileDescriptor> sockets);

/// A socket that only sends, by send_frames() or a driver that has no other way out.
Result<FileDescriptor> open_packet_sender(const AfPacketOptions& options);

/// Sends up to kBatchMax packets by one sendmmsg, VLAN tags and unfinished checksums as the
/// socket's virtio headers say; counts into `counters`. The packets stay the caller's.
void send_frames(int socket, std::span<packet::Packet* const> packets, QueueCounters& counters);

}  // namespace weir::io
