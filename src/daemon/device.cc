#include "daemon/device.h"

#include <net/if.h>

#include <cerrno>

#include "io/af_packet.h"

namespace weir::daemon {

Result<std::unique_ptr<Device>> Device::open(const PortSettings& port, std::size_t workers) {
  auto device = std::make_unique<Device>();
  device->ifindex_ = if_nametoindex(port.device.c_str());
  if (device->ifindex_ == 0) {
    return std::unexpected(Error{ENODEV, "port " + port.name + ": there is no device " +
                                             port.device + "; `ip link` lists them"});
  }
  const io::AfPacketOptions options{
      .device = port.device, .ifindex = device->ifindex_, .queues = workers};
  auto sockets = io::open_packet_sockets(options);
  if (!sockets) return std::unexpected(sockets.error());
  auto wire = io::make_packet_queues(std::move(*sockets), options);
  if (!wire) return std::unexpected(wire.error());
  device->wire_ = std::move(*wire);

  auto tap = io::open_host_tap(device->ifindex_, workers);
  if (!tap) return std::unexpected(tap.error());
  device->taps_ = io::make_tap_queues(std::move(tap->queues));
  auto heartbeat = io::make_heartbeat();
  if (!heartbeat) return std::unexpected(heartbeat.error());
  device->heartbeat_ = std::move(*heartbeat);
  auto hooks = io::HostHooks::attach({.port = port.device,
                                      .port_ifindex = device->ifindex_,
                                      .tap_ifindex = tap->ifindex,
                                      .heartbeat = device->heartbeat_.get()});
  if (!hooks) return std::unexpected(hooks.error());
  device->hooks_ = std::move(*hooks);
  return device;
}

std::vector<pipeline::PortQueues> Device::queues() const {
  std::vector<pipeline::PortQueues> queues;
  for (std::size_t i = 0; i < wire_.size(); ++i)
    queues.push_back({wire_[i].get(), taps_[i].get()});
  return queues;
}

}  // namespace weir::daemon
