#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "io/port.h"

namespace weir::io {

/// The queues of one device by AF_PACKET, for devices whose packets may be 64 KB segments with
/// unfinished checksums (PACKET_VNET_HDR). Several queues share the device's packets by a hash of
/// the flow that is the same in both directions (PACKET_FANOUT_HASH).
struct AfPacketOptions {
  std::string device;
  std::uint32_t ifindex = 0;
  std::size_t queues = 1;
  std::size_t ring_frames = 16384;  // Of 2 KB each, a queue: 160 ms at 100,000 packets a second.
};

/// One queue per worker. Errors: EPERM without CAP_NET_RAW, ENODEV when the device is gone.
Result<std::vector<std::unique_ptr<Queue>>> open_af_packet(const AfPacketOptions& options);

}  // namespace weir::io
