#include "replay/mapper.h"

#include "conntrack/extract.h"
#include "conntrack/invert.h"
#include "conntrack/status.h"
#include "nat/nat.h"
#include "nat/rewrite.h"
#include "replay/packet_ends.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/protocol.h"

namespace weir::replay {
namespace {

using conntrack::Tuple;
using nat::Manip;
using packet::Packet;
using wire::Family;

/// Datagrams whose pieces are remembered. When there are more, all are forgotten: a capture has few
/// at a time.
constexpr std::size_t kMostPieces = 4096;

bool is_error(const Packet& packet) {
  const Bytes l4 = packet.l4();
  if (packet.is_later_fragment || l4.size() < sizeof(wire::Icmp)) return false;
  if (packet.family == Family::ip)
    return packet.l4_protocol == wire::protocol::kIcmp && wire::icmp::is_error(l4[0]);
  return packet.l4_protocol == wire::protocol::kIcmpv6 && wire::icmpv6::is_error(l4[0]);
}

bool rewrite_both(Packet& packet, const Tuple& target) {
  return nat::rewrite(packet, Manip::src, target) && nat::rewrite(packet, Manip::dst, target);
}

}  // namespace

std::size_t Mapper::PieceHash::operator()(const PieceKey& key) const {
  return std::hash<std::string_view>{}({reinterpret_cast<const char*>(&key), sizeof key});
}

std::optional<Mapper::PieceKey> Mapper::piece_key(const Packet& packet) {
  const Bytes l3 = packet.l3();
  if (packet.family == Family::ip) {
    const auto& ip = wire::at<wire::Ipv4>(l3.data());
    return PieceKey{ip.src_address(), ip.dst_address(), ip.id().raw, ip.protocol()};
  }
  const auto& ip = wire::at<wire::Ipv6>(l3.data());
  const auto* const piece =
      wire::view<wire::Ipv6Fragment>(l3, wire::walk_chain(l3).fragment_offset);
  if (piece == nullptr) return std::nullopt;
  return PieceKey{ip.src_address(), ip.dst_address(), piece->id().raw, wire::protocol::kFragment};
}

/// The living connection with this original tuple, if it is translated.
std::optional<conntrack::Snapshot> Mapper::translated(const Tuple& original, Time now) const {
  const EpochGuard guard(epochs_, participant_);
  const auto found = table_.find(original, now);
  if (!found || found->direction != conntrack::Direction::original) return std::nullopt;
  auto connection = table_.snapshot(found->number, now);
  if (!connection || (connection->status & conntrack::status::kNatMask) == 0) return std::nullopt;
  return connection;
}

/// What a packet towards the true end of an expected connection would look like in front of the
/// gateway, if it is translated.
std::optional<Tuple> Mapper::announced(const Tuple& tuple, Time now) const {
  const EpochGuard guard(epochs_, participant_);
  const Tuple mirror = nat::mirrored(tuple);
  if (const auto found = table_.find(mirror, now)) {
    const auto connection = table_.snapshot(found->number, now);
    const bool is_meant = connection && found->direction == conntrack::Direction::reply &&
                          (connection->status & conntrack::status::kExpected) != 0 &&
                          connection->original != tuple;
    return is_meant ? std::optional(connection->original) : std::nullopt;
  }
  const conntrack::Expectations& expectations = table_.expectations();
  for (std::uint32_t i = 1; expectations.count() != 0 && i < expectations.used_end(); ++i) {
    const auto expectation = expectations.snapshot(i, now);
    if (!expectation || !expectation->nat.follows_master) continue;
    const auto master = table_.snapshot(expectation->master, now);
    if (!master) continue;
    const bool is_to_client = expectation->nat.direction == conntrack::Direction::reply;
    const Tuple& theirs = is_to_client ? master->original : master->reply;
    Tuple target = tuple;
    target.dst = expectation->expected.tuple.dst;
    target.dst_port = expectation->expected.tuple.dst_port;
    const bool is_meant = tuple.dst == theirs.src && tuple.dst_port == expectation->nat.port &&
                          target != tuple && expectation->expected.covers(target);
    if (is_meant) return target;
  }
  return std::nullopt;
}

bool Mapper::map(Packet& packet, Time now) {
  if (packet.is_later_fragment) return map_later_piece(packet);
  if (is_error(packet)) return map_error(packet, now);
  Tuple tuple;
  if (!conntrack::read_tuple(packet.family, packet.l3(), tuple)) return false;
  const auto mirror = conntrack::invert(tuple);
  if (!mirror) return false;
  const auto connection = translated(*mirror, now);
  if (!connection) {
    const auto target = announced(tuple, now);
    return target && rewrite_both(packet, *target);
  }

  if (packet.is_fragment) {
    if (pieces_.size() >= kMostPieces) pieces_.clear();
    if (const auto key = piece_key(packet)) pieces_[*key] = connection->reply;
  }
  return rewrite_both(packet, connection->reply);
}

bool Mapper::map_later_piece(Packet& packet) const {
  if (pieces_.empty()) return false;
  const auto key = piece_key(packet);
  if (!key) return false;
  const auto found = pieces_.find(*key);
  return found != pieces_.end() && rewrite_both(packet, found->second);
}

/// The error would quote the packet as it was after translation. Its own source is translated with
/// it when the quoted packet's receiver itself reports it.
bool Mapper::map_error(Packet& packet, Time now) const {
  Tuple quoted;
  if (!conntrack::read_tuple(packet.family, packet.l4().subspan(sizeof(wire::Icmp)), quoted))
    return false;
  const auto connection = translated(quoted, now);
  if (!connection) return false;

  const wire::Address src = source_of(packet);
  Tuple outer = connection->reply;
  if (src != connection->original.dst) outer.src = src;
  const Tuple inner = nat::mirrored(connection->reply);
  return nat::rewrite_error(packet, Manip::dst, outer, inner) &&
         nat::rewrite_error(packet, Manip::src, outer, inner);
}

}  // namespace weir::replay
