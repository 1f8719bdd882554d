#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "conntrack/connection.h"
#include "conntrack/expectation.h"
#include "conntrack/extension.h"
#include "conntrack/tuple.h"

namespace weir::nat {

/// What a helper may look at: one packet's payload, and whose it is. Borrowed from packet and
/// table.
struct Payload {
  Bytes bytes;
  const conntrack::Connection& connection;
  conntrack::Direction direction = conntrack::Direction::original;
  bool is_established = false;  // There has been traffic both ways (ESTABLISHED, in netfilter).
  std::uint32_t sequence = 0;   // TCP: of the payload's first byte, as its sender counts.
  bool was_rewritten = false;  // TCP: what begins here has been rewritten before, it is sent again.
  const conntrack::Extension::HelperState& state;  // What this helper remembers of the connection.

  /// The tuple of this packet's direction and of the opposite one, as without NAT in between each
  /// is the other's mirror.
  const conntrack::Tuple& own() const { return connection.tuple(direction); }
  const conntrack::Tuple& answer() const { return connection.tuple(opposite(direction)); }
};

/// Writes an address and port the way a protocol does; returns how many characters. `out` has
/// kSpelledMax. Callbacks of helpers.
using Spell = std::size_t (*)(std::span<char> out, wire::Family family,
                              const wire::Address& address, std::uint16_t port);
inline constexpr std::size_t kSpelledMax = 64;

/// A part of the payload that names an address and port.
struct Place {
  std::uint32_t offset = 0;
  std::uint16_t length = 0;
  Spell spell = nullptr;  // Null: nothing is named, nothing will be rewritten.
};

/// A connection that a helper foresees, and where the payload names the end that it will go to. The
/// expected destination is where the announced end is reached before NAT chooses something: the
/// answer's destination (Payload::answer().dst), with the port that the payload names.
struct Finding {
  conntrack::Expected expected{};
  std::uint16_t class_number = 0;
  /// The port that the connection's true end listens on, for NAT.
  Be16 port{0};
  conntrack::Direction direction =
      conntrack::Direction::original;  // In which the master's packets go to that end.
  Place place{};
};

/// What a helper makes of a payload: small, plain, by value.
struct Findings {
  static constexpr std::size_t kMost = 2;

  std::array<Finding, kMost> list{};
  std::uint8_t count = 0;
  /// The payload can't be let through, or what it announces would be misunderstood: it is half a
  /// command. The sender will send it again.
  bool must_drop = false;
  /// What the helper wants to remember instead of Payload::state.
  std::optional<conntrack::Extension::HelperState> remembered;

  void add(const Finding& finding) {
    if (count < kMost) list[count++] = finding;
  }
  std::span<const Finding> all() const { return std::span(list).first(count); }
};

}  // namespace weir::nat
