#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace weir::test {

/// Packets as people write them in scenarios, e.g.
///
///     ip 10.0.0.2 > 198.51.100.1 ttl 64 tcp 40000 > 80 S seq 1000 mss 1460
///
/// docs/SCENARIOS.md is the language's reference. Here a packet is its layers, outermost first, and
/// a layer its fields, all kept as text: a value may be a number, an address, hex digits, a
/// variable
/// ("$port", "$port:1024-2047") or "*".
struct Field {
  std::string name;
  std::string value;  // Empty for a flag such as "df".
};

struct Layer {
  std::string kind;  // A word of packet_words.cc: ip, tcp, chunk, data and so on.
  std::vector<Field> fields;

  const std::string* find(std::string_view name) const;
  bool has(std::string_view name) const { return find(name) != nullptr; }
  void set(std::string_view name, std::string value);
  void remove(std::string_view name);
};

/// Where a packet's description begins.
enum class Base {
  written,   // With its layers.
  same,      // "same": as a packet sent in this step, with changes.
  received,  // "received": the bytes that last came out, for an ICMP error to quote.
};

struct Packet {
  Base base = Base::written;
  std::size_t same_index = 0;  // Of the step's sent packets from 1; 0 is the last packet sent.
  std::vector<Field> changes;  // Of `same`; the name may carry its layer: "icmp.id".

  std::vector<Layer> layers;
  std::vector<Packet> quote;  // What an ICMP error quotes: none or one.

  /// "piece OFFSET LENGTH of …": one fragment of the datagram that is described.
  struct Piece {
    std::size_t offset = 0;
    std::size_t length = 0;
    std::string id;            // IPv6's fragment id; IPv4's stands in its header.
    std::optional<bool> more;  // Overrides MF, which otherwise follows from the length.
  };
  std::optional<Piece> piece;
  std::string link = "host";  // Where the frame is addressed to: host, bcast, mcast or other.
  std::size_t cut_bytes = 0;  // Bytes missing at the end.
  std::size_t pad_bytes = 0;  // Bytes after the datagram's end.

  const Layer* layer(std::string_view kind) const;
  Layer* layer(std::string_view kind);
};

/// Values of the variables that a scenario has bound so far, names without their "$".
using Variables = std::map<std::string, std::string>;

/// Reads one description. Defines have been substituted already.
Result<Packet> parse_packet(std::string_view text);

/// Writes `packet` as parse_packet would read it, for reports.
std::string describe(const Packet& packet);

/// Applies `same`'s changes to a copy of the packet that it refers to.
Result<Packet> apply_changes(const Packet& original, const Packet& same);

/// Splits at white space; "quoted text" and [ ] are tokens of their own.
std::vector<std::string> split_words(std::string_view text);

}  // namespace weir::test
