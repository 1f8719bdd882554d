#include "pipeline/flow_key.h"

#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/protocol.h"

namespace weir::pipeline {
namespace {

bool has_ports(std::uint8_t protocol) {
  using namespace wire::protocol;
  return protocol == kTcp || protocol == kUdp || protocol == kUdplite || protocol == kSctp ||
         protocol == kDccp;
}

constexpr std::size_t kPortsBytes = 4;

}  // namespace

routing::FlowKey flow_key(const packet::Packet& packet) {
  routing::FlowKey key{.family = packet.family,
                       .protocol = packet.l4_protocol,
                       .iif = packet.in_ifindex,
                       .mark = packet.mark};
  const std::uint8_t* const l3 = packet.frame() + packet.l3_offset;
  if (packet.family == wire::Family::ip) {
    const auto& ip = wire::at<wire::Ipv4>(l3);
    key.src = ip.src_address();
    key.dst = ip.dst_address();
    key.tos = ip.tos();
  } else {
    const auto& ip6 = wire::at<wire::Ipv6>(l3);
    key.src = ip6.src_address();
    key.dst = ip6.dst_address();
    key.tos = ip6.traffic_class();
  }
  if (has_ports(packet.l4_protocol) && !packet.is_later_fragment &&
      packet.l4().size() >= kPortsBytes) {
    key.src_port = load<Be16>(packet.l4().data());
    key.dst_port = load<Be16>(packet.l4().data() + 2);
  }
  return key;
}

RoutingBasis RoutingBasis::of(packet::Packet& packet) {
  const routing::FlowKey key = flow_key(packet);
  return {.packet = &packet, .src = key.src, .dst = key.dst, .mark = key.mark, .tos = key.tos};
}

bool RoutingBasis::is_still_true() const {
  const routing::FlowKey key = flow_key(*packet);
  return src == key.src && dst == key.dst && mark == key.mark && tos == key.tos;
}

}  // namespace weir::pipeline
