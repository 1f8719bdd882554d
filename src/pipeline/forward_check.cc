#include "pipeline/forward_check.h"

#include "wire/ipv4.h"
#include "wire/ipv6.h"

namespace weir::pipeline {
namespace {

using packet::Drop;

bool is_multicast(std::uint32_t ip) { return ip >> 28 == 0xe; }
bool is_limited_broadcast(std::uint32_t ip) { return ip == 0xffffffff; }
bool is_this_network(std::uint32_t ip) { return ip >> 24 == 0; }
bool is_loopback(std::uint32_t ip) { return ip >> 24 == 127; }

bool is_link_local(const wire::Address& ip6) {
  return ip6.bytes[0] == 0xfe && (ip6.bytes[1] & 0xc0) == 0x80;
}

ForwardDecision refuse(packet::Packet& packet, Drop why) {
  packet.drop = why;
  return {.forwarding = Forwarding::refused};
}

ForwardDecision only_host(packet::Packet& packet, Drop why) {
  packet.drop = why;
  return {.forwarding = Forwarding::host_only};
}

/// ip_route_input_slow before it looks a route up: RFC 1122 section 3.2.1.3, RFC 1812
/// section 5.3.7.
ForwardDecision check_ip(packet::Packet& packet) {
  const auto& ip = wire::at<wire::Ipv4>(packet.l3().data());
  const std::uint32_t src = ip.src().host();
  const std::uint32_t dst = ip.dst().host();

  if (is_multicast(src) || is_limited_broadcast(src)) {
    return refuse(packet, Drop::not_forwardable_source);
  }
  // A host that has no address yet (DHCP) speaks from 0.0.0.0 to all.
  if (is_limited_broadcast(dst) || (src == 0 && dst == 0)) {
    return only_host(packet, Drop::not_forwardable_destination);
  }
  if (is_multicast(dst)) {
    if (is_loopback(src)) return refuse(packet, Drop::not_forwardable_source);
    return only_host(packet, Drop::not_forwardable_destination);
  }
  if (is_this_network(src) || is_loopback(src)) {
    return refuse(packet, Drop::not_forwardable_source);
  }
  if (is_this_network(dst) || is_loopback(dst)) {
    return refuse(packet, Drop::not_forwardable_destination);
  }
  return {};
}

/// ip6_forward; RFC 4291 sections 2.5.2, 2.5.6 and 2.7.
ForwardDecision check_ip6(packet::Packet& packet) {
  const auto& ip = wire::at<wire::Ipv6>(packet.l3().data());
  const wire::Address src = ip.src_address();
  const wire::Address dst = ip.dst_address();
  if (dst.is_zero()) return refuse(packet, Drop::not_forwardable_destination);
  if (dst.bytes[0] == 0xff || is_link_local(dst)) {
    return only_host(packet, Drop::not_forwardable_destination);
  }
  if (src.is_zero()) return only_host(packet, Drop::not_forwardable_source);
  if (is_link_local(src)) {
    ForwardDecision decision = only_host(packet, Drop::not_forwardable_source);
    decision.needs_scope_error = true;
    return decision;
  }
  return {};
}

}  // namespace

ForwardDecision check_forwarding(packet::Packet& packet) {
  const ForwardDecision decision =
      packet.family == wire::Family::ip ? check_ip(packet) : check_ip6(packet);
  if (decision.forwarding != Forwarding::allowed) return decision;
  // RFC 1812 section 5.3.4: a unicast packet in a group frame goes to the host or nowhere.
  if (packet.link_type == packet::LinkType::broadcast ||
      packet.link_type == packet::LinkType::multicast) {
    return only_host(packet, Drop::not_forwardable_destination);
  }
  return {};
}

}  // namespace weir::pipeline
