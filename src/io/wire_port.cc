#include "io/wire_port.h"

#include <utility>

#include "io/af_packet.h"

namespace weir::io {
namespace {

AfPacketOptions packet_options(const WirePortOptions& options, std::uint32_t ifindex) {
  return {.device = options.device, .ifindex = ifindex, .queues = options.workers};
}

Result<void> open_by_packet(const WirePortOptions& options, WirePort& port) {
  auto sockets = open_packet_sockets(packet_options(options, port.ifindex));
  if (!sockets) return std::unexpected(sockets.error());
  port.packet_sockets = std::move(*sockets);
  return {};
}

/// Generic mode only where AF_XDP was asked for by name: it makes a socket buffer for each packet
/// and then copies it, which AF_PACKET does as well, without losing unfinished checksums.
Result<void> open_by_xdp(const WirePortOptions& options, WirePort& port) {
  auto xdp = open_xdp({.device = options.device,
                       .ifindex = port.ifindex,
                       .workers = options.workers,
                       .allows_generic = options.wish.driver == "af_xdp",
                       .has_live_frames = port.choice.transmit == Transmit::live});
  if (!xdp) return std::unexpected(xdp.error());
  port.xdp = std::move(*xdp);
  return {};
}

}  // namespace

Result<WirePort> open_wire_port(const WirePortOptions& options) {
  const auto facts = read_device_facts(options.device);
  if (!facts) return std::unexpected(facts.error());
  auto choice = choose(*facts, options.wish);
  if (!choice) return std::unexpected(choice.error());
  WirePort port{
      .ifindex = facts->ifindex, .choice = std::move(*choice), .packet_sockets = {}, .xdp = {}};
  if (port.choice.driver == Driver::af_xdp) {
    auto opened = open_by_xdp(options, port);
    if (opened) return port;
    if (options.wish.driver != "auto") return std::unexpected(opened.error());
    port.choice = {.driver = Driver::af_packet,
                   .transmit = Transmit::sendto,
                   .why = "AF_XDP was refused: " + opened.error().text,
                   .transmit_why = ""};
  }
  if (auto opened = open_by_packet(options, port); !opened) return std::unexpected(opened.error());
  return port;
}

Result<std::vector<std::unique_ptr<Queue>>> make_wire_queues(WirePort port,
                                                             const WireQueueOptions& options) {
  if (port.xdp) {
    return make_xdp_queues(std::move(*port.xdp), {.first_worker = options.port % options.workers});
  }
  return make_packet_queues(std::move(port.packet_sockets));
}

}  // namespace weir::io
