#include "daemon/host_ports.h"

#include "io/host_tap.h"

namespace weir::daemon {
namespace {

Result<HostPort> open_device(const HostPortOptions& options) {
  const PortSettings& port = options.settings;
  HostPort opened;
  auto wire = io::open_wire_port({.device = port.device,
                                  .workers = options.workers,
                                  .wish = {.driver = port.driver, .tx = port.tx}});
  if (!wire) return std::unexpected(wire.error());
  const std::uint32_t ifindex = wire->ifindex;
  const bool has_generic_xdp = wire->xdp && !wire->xdp->is_native;
  opened.handles.wire = std::move(*wire);

  auto tap = io::open_host_tap(ifindex, options.workers, options.takes_over);
  if (!tap) return std::unexpected(tap.error());
  opened.handles.tap_ifindex = tap->ifindex;
  opened.handles.taps = std::move(tap->queues);

  auto hooks = io::HostHooks::attach({.port = port.device,
                                      .port_ifindex = ifindex,
                                      .tap_ifindex = tap->ifindex,
                                      .heartbeat = options.heartbeat,
                                      .has_generic_xdp = has_generic_xdp,
                                      .fails_open = options.fails_open});
  if (!hooks) return std::unexpected(hooks.error());
  opened.hooks = std::move(*hooks);
  return opened;
}

}  // namespace

Result<HostPort> open_host_port(const HostPortOptions& options) {
  auto opened = open_device(options);
  if (!opened) opened.error().text = "port " + options.settings.name + ": " + opened.error().text;
  return opened;
}

}  // namespace weir::daemon
