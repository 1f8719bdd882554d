#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>

#include "conntrack/table.h"
#include "packet/packet.h"

namespace weir::replay {

/// Makes packets of a capture that was taken before NAT what they would have been.
///
/// Such a capture shows both directions with the addresses that the client knows. The engine, which
/// translates the one direction, would not know the answers again: they go to the client's address
/// instead of the translated one. So an answer (a packet whose mirror is the original tuple of a
/// translated connection) gets the connection's reply tuple, and so does what an ICMP error about
/// the client's packet quotes. Likewise a packet of a connection that a helper has foreseen, or
/// that begins it: it goes where the gateway would have announced the client's end. (A capture's
/// answers to rewritten payloads of another length can't be mapped: they acknowledge what was never
/// sent.)
///
/// Pieces of a datagram go with their first piece, if that has come before them. Zones are not
/// known before the rules have seen a packet: only connections of zone 0 are mapped.
class Mapper {
 public:
  /// `participant`: of the table's epochs, the calling thread's.
  Mapper(conntrack::Table& table, Epochs& epochs, std::size_t participant)
      : table_(table), epochs_(epochs), participant_(participant) {}

  /// True when the packet has been rewritten. Requires: headers checked.
  bool map(packet::Packet& packet, Time now);

 private:
  struct PieceKey {
    wire::Address src;
    wire::Address dst;
    std::uint32_t id = 0;
    std::uint32_t protocol = 0;
    bool operator==(const PieceKey&) const = default;
  };
  struct PieceHash {
    std::size_t operator()(const PieceKey& key) const;
  };

  std::optional<conntrack::Snapshot> translated(const conntrack::Tuple& original, Time now) const;
  std::optional<conntrack::Tuple> announced(const conntrack::Tuple& tuple, Time now) const;
  bool map_error(packet::Packet& packet, Time now) const;
  bool map_later_piece(packet::Packet& packet) const;
  static std::optional<PieceKey> piece_key(const packet::Packet& packet);

  conntrack::Table& table_;
  Epochs& epochs_;
  const std::size_t participant_;
  std::unordered_map<PieceKey, conntrack::Tuple, PieceHash>
      pieces_;  // The reply tuple of the first piece's connection.
};

}  // namespace weir::replay
