#include "daemon/host_ports.h"

#include <fcntl.h>
#include <net/if.h>

#include <cerrno>

#include "io/af_packet.h"
#include "io/host_tap.h"

namespace weir::daemon {
namespace {

Result<HostPort> open_device(const HostPortOptions& options) {
  const PortSettings& port = options.settings;
  HostPort opened;
  PortHandles& handles = opened.handles;
  handles.ifindex = if_nametoindex(port.device.c_str());
  if (handles.ifindex == 0) {
    return std::unexpected(
        Error{ENODEV, "there is no device " + port.device + "; `ip link` lists them"});
  }
  auto sockets = io::open_packet_sockets(
      {.device = port.device, .ifindex = handles.ifindex, .queues = options.workers});
  if (!sockets) return std::unexpected(sockets.error());
  handles.of(HandleKind::packet) = std::move(*sockets);
  handles.driver = "af_packet";

  auto tap = io::open_host_tap(handles.ifindex, options.workers, options.takes_over);
  if (!tap) return std::unexpected(tap.error());
  handles.tap_ifindex = tap->ifindex;
  handles.of(HandleKind::tap) = std::move(tap->queues);

  if (options.fails_open) {
    FileDescriptor map(fcntl(options.heartbeat, F_DUPFD_CLOEXEC, 0));
    if (!map.is_open()) return std::unexpected(system_error("the heartbeat"));
    handles.of(HandleKind::heartbeat).push_back(std::move(map));
  }
  auto hooks = io::HostHooks::attach({.port = port.device,
                                      .port_ifindex = handles.ifindex,
                                      .tap_ifindex = handles.tap_ifindex,
                                      .heartbeat = options.heartbeat,
                                      .fails_open = options.fails_open});
  if (!hooks) return std::unexpected(hooks.error());
  opened.hooks = std::move(*hooks);
  return opened;
}

}  // namespace

Result<HostPort> open_host_port(const HostPortOptions& options) {
  auto opened = open_device(options);
  if (!opened) {
    opened.error().text = "port " + options.settings.name + ": " + opened.error().text;
  }
  return opened;
}

}  // namespace weir::daemon
