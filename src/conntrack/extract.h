#pragma once

#include <cstdint>

#include "conntrack/proto/gre.h"
#include "conntrack/proto/step.h"
#include "conntrack/tuple.h"
#include "packet/packet.h"

namespace weir::conntrack {

/// What a packet says about which connection it belongs to.
struct Extracted {
  enum class Kind : std::uint8_t {
    tuple,      // `tuple` is the packet's own.
    quoted,     // An ICMP error: `tuple` is what an answer to the packet that it quotes would have,
                // and `outer_dst` where the error goes.
    untracked,  // The link's own messages (ICMPv6 neighbour discovery, multicast listeners).
    invalid,    // `reason` says why.
  };

  Kind kind = Kind::invalid;
  Reason reason = Reason::none;
  bool is_icmp_error = false;  // Invalid: counted as an error, as the kernel counts those.
  Tuple tuple;
  wire::Address outer_dst;
};

/// Reads the packet's tuple and checks what netfilter checks before a look-up: headers, and, with
/// `verify`, the transport checksum unless the packet says that it is right. A checksum that was
/// found right is noted in the packet. The tuple's zone is the template's for the original
/// direction.
/// `keymap` tells GRE's source keys; null: there are none.
Extracted extract(packet::Packet& packet, bool verify, const GreKeymap* keymap = nullptr);

/// The tuple of a datagram that begins at `datagram` and may be cut short (a quotation); false when
/// it can't be told. The zone is left alone.
bool read_tuple(wire::Family family, Bytes datagram, Tuple& tuple,
                const GreKeymap* keymap = nullptr);

/// The template's zone for one direction.
std::uint16_t template_zone(const packet::CtRef& ct, Direction direction);

}  // namespace weir::conntrack
