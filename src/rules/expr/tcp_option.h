#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "packet/packet.h"

namespace weir::rules {

/// Where an option lies, counted from the TCP header, and its length with kind and length byte.
struct TcpOptionPlace {
  std::uint32_t offset = 0;
  std::uint32_t length = 0;
};

/// The first option of the kind; nothing when the packet is not TCP, its header is damaged, or
/// there is none. The option may claim to run past the header: ask before reading it.
std::optional<TcpOptionPlace> find_tcp_option(const packet::Packet& packet, std::uint8_t kind);

/// Bytes of the TCP header; zero when the packet has no whole one.
std::uint32_t tcp_header_bytes(const packet::Packet& packet);

/// Overwrites 2 or 4 bytes of the TCP header and keeps its checksum right, at odd offsets too. An
/// MSS is only ever lowered.
void write_tcp_option(packet::Packet& packet, std::uint32_t offset, std::uint8_t kind, Bytes value);

/// Replaces the option by no-operations and keeps the checksum right.
void strip_tcp_option(packet::Packet& packet, const TcpOptionPlace& place);

}  // namespace weir::rules
