// The life of a mapping.
//
// A connection's first packet passes the destination hook, then the source hook, and each decides
// once (kDstNatDone, kSrcNatDone). Nothing of a mapping is stored but its result: the reply tuple,
// i.e. what the answers to the translated packets look like. Translating the destination changes
// the reply's source, translating the source its destination. From then on a packet of either
// direction is to look like the mirror image of the *other* direction's tuple, and the two status
// bits tell which end has to be written at which hook.
//
// Whenever the reply tuple differs from the original's inverse it is reserved in the table's index,
// from its choice to confirm(), so two connections never share one. A connection that keeps its
// tuple reserves nothing; that is the common case of mere forwarding. Somebody's mapping may take
// its reply tuple before it is confirmed; then it gives way (settle_clash).

#include "nat/nat.h"

#include <utility>

#include "conntrack/proto/tcp_window.h"
#include "nat/choose.h"
#include "nat/rewrite.h"
#include "wire/icmp.h"
#include "wire/protocol.h"

namespace weir::nat {
namespace {

namespace status = conntrack::status;
using conntrack::Connection;
using conntrack::Direction;
using conntrack::Snapshot;
using conntrack::Table;
using conntrack::TcpPhase;
using conntrack::Tracker;
using conntrack::Tuple;
using packet::CtInfo;
using packet::Drop;
using packet::Packet;

bool is_icmp(std::uint8_t protocol) {
  return protocol == wire::protocol::kIcmp || protocol == wire::protocol::kIcmpv6;
}

/// The packet is an ICMP error about the connection, not a packet of it.
bool is_error(const Packet& packet) {
  const bool is_related =
      packet.ct.info == CtInfo::related || packet.ct.info == CtInfo::related_reply;
  return is_related && is_icmp(packet.l4_protocol);
}

std::uint32_t done_bit(Manip manip) {
  return manip == Manip::src ? status::kSrcNatDone : status::kDstNatDone;
}
std::uint32_t nat_bit(Manip manip) {
  return manip == Manip::src ? status::kSrcNat : status::kDstNat;
}

/// Which of the connection's translations concerns a packet at a hook: the answers to translated
/// sources have their destination translated back.
std::uint32_t bit_at(Manip manip, bool is_reply) {
  return nat_bit(manip) ^ (is_reply ? status::kNatMask : 0);
}

bool refuse(Packet& packet, Drop reason) {
  packet.drop = reason;
  return false;
}

/// Claims reply tuples for one connection that isn't confirmed yet.
class Reservation final : public Claims {
 public:
  struct Parts {
    Table& table;
    PortMaps& port_maps;
    const HashKey& key;
  };
  Reservation(const Parts& parts, Tracker& tracker, std::uint32_t entry, Time now)
      : parts_(parts), tracker_(tracker), entry_(entry), now_(now) {}

  bool claim(const Tuple& reply, bool may_evict) override {
    if (tracker_.reserve_reply(entry_, reply, now_)) return true;
    return may_evict && evict(reply) && tracker_.reserve_reply(entry_, reply, now_);
  }

  bool is_taken(const Tuple& reply) override { return tracker_.is_taken(reply, entry_, now_); }

  PortMap* ports(const Tuple& reply, bool open) override {
    return open ? parts_.port_maps.open(reply, now_) : parts_.port_maps.find(reply, now_);
  }

  std::uint16_t random() override {
    const auto now = static_cast<std::uint64_t>(now_.time_since_epoch().count());
    // By the tuple, not by the entry's number: what a batch or another worker does first changes
    // nothing.
    const std::uint64_t tag = parts_.table.tag(tracker_.entry(entry_).original());
    return static_cast<std::uint16_t>(siphash13<3>(parts_.key, {now, tag, ++draws_}));
  }

 private:
  /// Deletes the connection that has `reply` if it is a finished TCP connection and our SYN's
  /// sequence number lies beyond it, so that the server can tell the two apart (RFC 9293
  /// section 3.6.1).
  bool evict(const Tuple& reply) {
    if (reply.protocol != wire::protocol::kTcp) return false;
    const conntrack::TcpState ours = tracker_.entry(entry_).tcp();
    if (ours.phase != TcpPhase::syn_sent) return false;
    const auto found = parts_.table.find(reply, now_);
    if (!found || found->direction != Direction::reply) return false;
    const auto old = parts_.table.snapshot(found->number, now_);
    if (!old) return false;
    const bool is_finished =
        old->tcp.phase == TcpPhase::time_wait || old->tcp.phase == TcpPhase::close;
    const bool is_ours_to_delete =
        (old->status & (status::kSrcNat | status::kFixedTimeout | status::kDying)) ==
        status::kSrcNat;
    if (!is_finished || !is_ours_to_delete) return false;
    if (!conntrack::is_after(ours.sides[0].end, old->tcp.sides[0].end)) return false;
    tracker_.remove(found->number, now_);
    return true;
  }

  const Parts parts_;
  Tracker& tracker_;
  const std::uint32_t entry_;
  const Time now_;
  std::uint64_t draws_ = 0;
};

}  // namespace

/// The decision of one manip for one connection.
struct Nat::Setup {
  Tracker& tracker;
  Connection connection;
  const Range& range;
  Time now;
  Reservation claims;
  Tuple reply;  // As it is so far.
};

Result<std::unique_ptr<Nat>> Nat::create(Table& table, const HashKey& key) {
  Result<Sources> sources = Sources::create(table.max(), key);
  if (!sources) return std::unexpected(sources.error());
  Result<Mapping> port_maps = PortMaps::reserve();
  if (!port_maps) return std::unexpected(port_maps.error());
  return std::unique_ptr<Nat>(new Nat(table, key, std::move(*sources), std::move(*port_maps)));
}

Nat::Nat(Table& table, const HashKey& key, Sources sources, Mapping port_maps)
    : table_(table),
      key_(key),
      sources_(std::move(sources)),
      port_maps_(std::move(port_maps), key) {
  table_.watch_replies(this);
}

Nat::~Nat() { table_.watch_replies(nullptr); }

bool Nat::wants_setup(Tracker& tracker, const Packet& packet, Manip manip) const {
  if (packet.ct.entry == 0) return false;
  const bool may_begin = packet.ct.info == CtInfo::is_new || packet.ct.info == CtInfo::related ||
                         packet.ct.info == CtInfo::related_reply;
  if (!may_begin || is_error(packet)) return false;
  return (tracker.connection(packet).status() & (done_bit(manip) | status::kConfirmed)) == 0;
}

/// The mapping that another connection from the same source has, if it lies in the range and is
/// free here.
bool Nat::follow_source(Setup& setup) const {
  const Tuple& original = setup.connection.original();
  for (const std::uint32_t number : sources_.find(original)) {
    if (number == 0) break;
    if (number == setup.connection.number()) continue;
    const auto other = table_.snapshot(number, setup.now);
    if (!other || other->original.src != original.src ||
        other->original.src_port != original.src_port ||
        other->original.protocol != original.protocol || other->original.zone != original.zone ||
        other->original.family != original.family) {
      continue;
    }
    Tuple theirs = other->reply;
    Tuple reply = setup.reply;
    const MappedEnd from = mapped_end(theirs, Manip::src);
    const MappedEnd to = mapped_end(reply, Manip::src);
    to.address = from.address;
    to.port = from.port;
    if (!is_in_range(reply, Manip::src, setup.range)) continue;
    if (!setup.claims.claim(reply, false)) continue;
    setup.reply = reply;
    return true;
  }
  return false;
}

/// Whether the reply tuple may stay as it is.
bool Nat::keeps_tuple(Setup& setup) const {
  const std::uint32_t number = setup.connection.number();
  if ((setup.connection.status() & status::kDstNat) != 0) return true;  // Reserved by that.
  if (!setup.tracker.is_taken(setup.reply, number, setup.now)) return true;
  // Taken by this very connection, whose first packet another worker has had: confirm() will see
  // it.
  return setup.tracker.is_taken(setup.connection.original(), number, setup.now);
}

bool Nat::choose_source(Setup& setup) const {
  if (!setup.range.has(Range::kRandom | Range::kFullyRandom)) {
    if (is_in_range(setup.reply, Manip::src, setup.range)) {
      if (keeps_tuple(setup)) return true;
    } else if (follow_source(setup)) {
      return true;
    }
  }
  return choose(setup.reply, Manip::src, setup.range, setup.claims);
}

/// Where client and server already talk under the new tuple, the client's port has to differ.
bool Nat::choose_destination(Setup& setup) const {
  if (choose(setup.reply, Manip::dst, setup.range, setup.claims)) return true;
  return choose(setup.reply, Manip::src, Range::to(setup.reply.dst), setup.claims);
}

/// Which ends of `reply` differ from the tuple before.
std::uint32_t Nat::changed_ends(const Tuple& before, const Tuple& reply) {
  std::uint32_t bits = 0;
  const bool has_id = is_icmp(reply.protocol);
  if (before.src != reply.src || (!has_id && before.src_port != reply.src_port))
    bits |= status::kDstNat;
  if (before.dst != reply.dst || (!has_id && before.dst_port != reply.dst_port))
    bits |= status::kSrcNat;
  return bits;
}

bool Nat::setup(Tracker& tracker, Packet& packet, Manip manip, const Range& asked, Time now) {
  const Connection connection = tracker.connection(packet);
  if (connection.is_confirmed()) return true;
  const bool is_decided = (connection.status() & done_bit(manip)) != 0;
  if (!is_decided && map(tracker, connection, manip, asked, now)) return true;
  return refuse(packet, Drop::nat_no_tuple);
}

bool Nat::map_new(Tracker& tracker, std::uint32_t entry, Manip manip,
                  const std::optional<Range>& range, Time now) {
  const Connection connection = tracker.entry(entry);
  if (range) return map(tracker, connection, manip, *range, now);
  if (manip == Manip::src) {
    return map(tracker, connection, manip, Range::to(connection.reply().dst), now);
  }
  tracker.add_status(entry, status::kDstNatDone);
  return true;
}

/// Decides where `manip` maps a connection to that isn't confirmed.
bool Nat::map(Tracker& tracker, const Connection& connection, Manip manip, const Range& asked,
              Time now) {
  Tuple before = connection.reply();
  const Range range = asked.has(Range::kNetmap)
                          ? netmap(asked, mapped_end(before, manip).address, before.family)
                          : asked;
  Setup setup{.tracker = tracker,
              .connection = connection,
              .range = range,
              .now = now,
              .claims = Reservation({table_, port_maps_, key_}, tracker, connection.number(), now),
              .reply = before};
  const bool is_found = manip == Manip::src ? choose_source(setup) : choose_destination(setup);
  if (!is_found) return false;

  std::uint32_t bits = done_bit(manip) | changed_ends(before, setup.reply);
  // An ICMP id belongs to neither end; whoever changed it writes it.
  if (before.src_port != setup.reply.src_port && is_icmp(before.protocol)) bits |= nat_bit(manip);
  tracker.add_status(connection.number(), bits);
  if ((bits & status::kSrcNat) != 0) sources_.add(connection.original(), connection.number());
  return true;
}

bool Nat::masquerade(Tracker& tracker, Packet& packet, Range range, const wire::Address& address,
                     Time now) {
  const Connection connection = tracker.connection(packet);
  if (connection.is_confirmed()) return true;
  if (packet.family == wire::Family::ip && connection.original().src.is_zero()) return true;
  tracker.set_nat(connection.number(), {.masquerade_ifindex = packet.out_ifindex});
  range.flags |= Range::kMapAddresses;
  range.min_address = range.max_address = address;
  return setup(tracker, packet, Manip::src, range, now);
}

bool Nat::setup_null(Tracker& tracker, Packet& packet, Manip manip, Time now) {
  const Connection connection = tracker.connection(packet);
  if (connection.is_confirmed()) return true;
  if (manip == Manip::src) {
    return setup(tracker, packet, manip, Range::to(connection.reply().dst), now);
  }
  tracker.add_status(connection.number(), status::kDstNatDone);
  return true;
}

bool Nat::apply(Tracker& tracker, Packet& packet, Manip manip, Time now) {
  if (packet.ct.entry == 0) return true;
  const Connection connection = tracker.connection(packet);
  if (is_error(packet)) return apply_to_error(connection, packet, manip);

  const bool is_reply = packet.ct.is_reply();
  const std::uint32_t link = connection.nat().masquerade_ifindex;
  const bool has_moved = manip == Manip::src && !is_reply && link != 0 && packet.out_ifindex != 0 &&
                         packet.out_ifindex != link;
  if (has_moved) {
    tracker.remove(connection.number(), now);
    return refuse(packet, Drop::nat_link_changed);
  }

  if ((connection.status() & bit_at(manip, is_reply)) == 0) return true;
  const Tuple& other = is_reply ? connection.original() : connection.reply();
  return rewrite(packet, manip, mirrored(other)) || refuse(packet, Drop::truncated);
}

/// RFC 5508 section 4: the error looks as if it were about the packet that the receiver has sent. A
/// redirect (RFC 792) names a router on our side of the translation and must not cross it.
bool Nat::apply_to_error(const Connection& connection, Packet& packet, Manip manip) {
  const Bytes error = packet.l4();
  if (error.size() < sizeof(wire::Icmp)) return refuse(packet, Drop::truncated);
  const std::uint32_t bits = connection.status();
  const std::uint8_t redirect =
      packet.family == wire::Family::ip ? wire::icmp::kRedirect : wire::icmpv6::kRedirect;
  const bool may_be_translated =
      (bits & status::kNatDoneMask) != status::kNatDoneMask || (bits & status::kNatMask) != 0;
  if (error[0] == redirect && may_be_translated) return refuse(packet, Drop::nat_redirect);

  const bool is_reply = packet.ct.is_reply();
  if ((bits & bit_at(manip, is_reply)) == 0) return true;
  const Direction other = is_reply ? Direction::original : Direction::reply;
  const Tuple& inner = connection.tuple(other);
  return rewrite_error(packet, manip, mirrored(inner), inner) || refuse(packet, Drop::truncated);
}

bool Nat::restore_loser(Tracker& tracker, Packet& packet) {
  if (packet.ct.entry == 0) return true;
  const Connection winner = tracker.connection(packet);
  const Tuple target = mirrored(packet.ct.is_reply() ? winner.original() : winner.reply());
  if (rewrite(packet, Manip::dst, target) && rewrite(packet, Manip::src, target)) return true;
  return refuse(packet, Drop::truncated);
}

bool Nat::settle_clash(Tracker& tracker, Packet& packet, Time now) {
  const Connection connection = tracker.connection(packet);
  Reservation claims({table_, port_maps_, key_}, tracker, connection.number(), now);
  Tuple reply = connection.reply();
  if (!choose(reply, Manip::src, Range::to(reply.dst), claims)) {
    return refuse(packet, Drop::nat_no_tuple);
  }
  tracker.add_status(connection.number(), status::kSrcNat);
  sources_.add(connection.original(), connection.number());
  return rewrite(packet, Manip::src, mirrored(reply)) || refuse(packet, Drop::truncated);
}

bool goes_with_link(const Snapshot& connection, std::uint32_t ifindex) {
  return ifindex != 0 && connection.nat.masquerade_ifindex == ifindex;
}

bool goes_with_address(const Snapshot& connection, std::uint32_t ifindex, wire::Family family,
                       const wire::Address& address) {
  return goes_with_link(connection, ifindex) && connection.reply.family == family &&
         connection.reply.dst == address;
}

Tuple mirrored(const Tuple& tuple) {
  Tuple mirror = tuple;
  std::swap(mirror.src, mirror.dst);
  if (!is_icmp(tuple.protocol)) std::swap(mirror.src_port, mirror.dst_port);
  return mirror;
}

}  // namespace weir::nat
