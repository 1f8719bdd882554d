#pragma once

#include <string>

#include "conntrack/entry.h"
#include "packet/packet.h"

namespace weir::replay {

/// "192.168.77.10:40000 > 203.0.113.9:80", with ICMP ids as ports; addresses alone where there is
/// no more. Empty for what isn't IP. Requires: headers checked.
std::string ends_text(const packet::Packet& packet);

/// The packet in a line: "tcp 192.168.77.10:40000 > 203.0.113.9:80 [S] 60 bytes".
std::string packet_text(const packet::Packet& packet);

/// "INVALID (the transport checksum is wrong)", "ESTABLISHED reply"; empty before tracking.
std::string ct_text(const packet::CtRef& ct);

/// "192.168.77.10:40000 > 203.0.113.9:80" of one direction of a connection.
std::string tuple_text(const conntrack::Tuple& tuple);

/// "tcp", or the number of a protocol that has no name.
std::string protocol_text(std::uint8_t protocol);

}  // namespace weir::replay
