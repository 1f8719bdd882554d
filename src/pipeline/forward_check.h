#pragma once

#include <cstdint>

#include "packet/packet.h"

namespace weir::pipeline {

enum class Forwarding : std::uint8_t {
  allowed,    // Nothing speaks against it but routes.
  host_only,  // Never forwarded, but the host may want it: multicast, broadcast, link-local
              // destinations, frames sent to a group MAC. Packet::drop is set for those who have no
              // host.
  refused,    // Packet::drop says why; nobody gets it.
};

/// What the kernel's IPv4 and IPv6 input refuse to forward whatever the routes say
/// (ip_route_input_slow, ip_forward, ip6_forward; RFC 1812 sections 5.3.7 and 4.2.2.11, RFC 4291
/// section 2.5). Called after DNAT, before the route is looked up. Directed broadcasts and reverse
/// path need routing tables: routing/.
///
/// `needs_scope_error` comes back true for an IPv6 link-local source that would leave its link: the
/// kernel answers with "beyond scope of source address" (RFC 4443 section 3.1).
struct ForwardDecision {
  Forwarding forwarding = Forwarding::allowed;
  bool needs_scope_error = false;
};
ForwardDecision check_forwarding(packet::Packet& packet);

/// What a packet's IPv4 options mean for forwarding (ip_options_compile, RFC 1812 section 5.2.4.1).
struct Ipv4Options {
  enum class Verdict : std::uint8_t {
    fine,
    malformed,     // Drop; parameter problem at `pointer`.
    source_route,  // Loose or strict: dropped without an answer, as with accept_source_route=0.
  };
  Verdict verdict = Verdict::fine;
  std::uint8_t pointer = 0;  // Offset of the bad byte from the IP header's start.
  bool has_router_alert = false;
  std::uint8_t record_route =
      0;  // Offset of these options in the IP header; zero when absent or full,
  std::uint8_t timestamp = 0;  // i.e. when forwarding has nothing to add.
};

/// Only packets with more than 20 bytes of header need this; it is cheap for the others.
Ipv4Options check_ipv4_options(const packet::Packet& packet);

/// Adds what a forwarding router adds to record-route and timestamp options (ip_forward_options):
/// its address on the outgoing interface, and milliseconds since midnight UTC. Keeps the header
/// checksum.
void update_ipv4_options(packet::Packet& packet, const Ipv4Options& options, Be32 own_address,
                         std::uint32_t milliseconds_of_day);

}  // namespace weir::pipeline
