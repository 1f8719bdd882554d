#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "conntrack/tuple.h"
#include "nat/findings.h"

namespace weir::helpers::ftp {

/// An address and port that a line announces, and where the text that names them lies.
struct Announcement {
  enum class Found : std::uint8_t {
    nothing,  // Not such a line.
    partly,   // Begins like one, but isn't one, or not yet.
    whole,
  };
  Found found = Found::nothing;
  wire::Address address{};  // Where `has_address`.
  bool has_address = false;
  std::uint16_t port = 0;
  nat::Place place{};
};

/// Reads what begins with a line of the client (Direction::original: PORT, EPRT) or of the server
/// (227, 229). Addresses are of `family`.
Announcement read(std::string_view text, conntrack::Direction from, wire::Family family);

/// The spellings, for Place::spell: "192,0,2,1,4,1", "|1|192.0.2.1|1025|" and "|||1025|".
std::size_t spell_commas(std::span<char> out, wire::Family family, const wire::Address& address,
                         std::uint16_t port);
std::size_t spell_extended(std::span<char> out, wire::Family family, const wire::Address& address,
                           std::uint16_t port);
std::size_t spell_port_alone(std::span<char> out, wire::Family family, const wire::Address& address,
                             std::uint16_t port);

}  // namespace weir::helpers::ftp
