#include "daemon/device.h"

#include "io/host_tap.h"

namespace weir::daemon {

Result<std::unique_ptr<Device>> Device::open(Host& host, std::uint16_t number,
                                             const PortSettings& port) {
  auto opened = host.open_port(number, port.device);
  if (!opened) return std::unexpected(opened.error());
  auto device = std::make_unique<Device>();
  device->ifindex_ = opened->wire.ifindex;
  device->choice_ = opened->wire.choice;
  const std::size_t workers = opened->taps.size();
  auto wire = io::make_wire_queues(std::move(opened->wire), {.workers = workers, .port = number});
  if (!wire) return std::unexpected(wire.error());
  device->wire_ = std::move(*wire);
  device->taps_ = io::make_tap_queues(std::move(opened->taps));
  return device;
}

std::vector<pipeline::PortQueues> Device::queues() const {
  std::vector<pipeline::PortQueues> queues;
  for (std::size_t i = 0; i < wire_.size(); ++i) queues.push_back({wire_[i].get(), taps_[i].get()});
  return queues;
}

}  // namespace weir::daemon
