#include "conntrack/tracker.h"

#include <chrono>

#include "conntrack/batch_ends.h"
#include "conntrack/extract.h"
#include "conntrack/invert.h"
#include "conntrack/proto/generic.h"
#include "conntrack/proto/icmp.h"
#include "conntrack/proto/icmpv6.h"
#include "conntrack/proto/udplite.h"
#include "wire/protocol.h"

namespace weir::conntrack {
namespace {

namespace protocol = wire::protocol;
using packet::CtInfo;
using packet::CtState;

constexpr unsigned kAttempts = 8;  // How often an entry may vanish under a packet.

/// The state that a tracker works on: a copy of the entry's, or a fresh one. UDP's is settled by
/// the first packet, so only that one writes it back.
struct States {
  UdpState udp;
  union {
    TcpState tcp{};
    SctpState sctp;
    DccpState dccp;
  };
  const SequenceAdjustment* acknowledged = nullptr;  // As TcpSegment's.

  void load(const Entry& entry, std::uint8_t protocol) {
    if (protocol == protocol::kTcp) tcp = entry.tcp;
    if (protocol == protocol::kSctp) sctp = entry.sctp;
    if (protocol == protocol::kDccp) dccp = entry.dccp;
  }
  void store(Entry& entry, std::uint8_t protocol) const {
    if (protocol == protocol::kTcp) store_words(entry.tcp, tcp);
    if (protocol == protocol::kSctp) store_words(entry.sctp, sctp);
    if (protocol == protocol::kDccp) store_words(entry.dccp, dccp);
  }
};

/// The closed set of trackers.
Step dispatch(const packet::Packet& packet, const Tuple& original, const Sighting& sighting,
              const TimeoutList& timeouts, const TcpKnobs& tcp_knobs, States& states) {
  const auto refuse = [](Reason reason) {
    return Step{.outcome = Outcome::invalid, .reason = reason};
  };
  switch (original.protocol) {
    case protocol::kUdp:
      return states.udp.on_packet(sighting, timeouts);
    case protocol::kTcp: {
      auto segment = TcpSegment::read(packet.l4());
      if (!segment) return refuse(segment.error());
      segment->acknowledged = states.acknowledged;
      return states.tcp.on_packet(*segment, sighting, {timeouts, tcp_knobs});
    }
    case protocol::kSctp: {
      const auto chunks = SctpPacket::read(packet.l4());
      if (!chunks) return refuse(chunks.error());
      return states.sctp.on_packet(*chunks, sighting, timeouts);
    }
    case protocol::kDccp: {
      const auto header = DccpHeader::read(packet.l4());
      if (!header) return refuse(header.error());
      return states.dccp.on_packet(*header, sighting, timeouts);
    }
    case protocol::kUdplite:
      return track_udplite(sighting, timeouts);
    case protocol::kGre:
      return track_gre(sighting, timeouts);
    case protocol::kIcmp:
      if (original.family != wire::Family::ip) break;
      return track_icmp(static_cast<std::uint8_t>(original.dst_port.host() >> 8),
                        timeouts[timeout::kOnly]);
    case protocol::kIcmpv6:
      if (original.family != wire::Family::ip6) break;
      return track_icmpv6(static_cast<std::uint8_t>(original.dst_port.host() >> 8),
                          timeouts[timeout::kOnly]);
    default:
      return track_generic(timeouts[timeout::kOnly]);
  }
  return refuse(Reason::not_trackable);  // The other family's ICMP.
}

CtInfo info_for(std::uint32_t status, Direction direction) {
  if (direction == Direction::reply) return CtInfo::established_reply;
  if ((status & status::kSeenReply) != 0) return CtInfo::established;
  return (status & status::kExpected) != 0 ? CtInfo::related : CtInfo::is_new;
}

}  // namespace

Connection Tracker::entry(std::uint32_t number) { return {number, arena_[number]}; }

Extension* Tracker::extension(std::uint32_t number) {
  const std::uint32_t extension = entry(number).extension();
  return extension == 0 ? nullptr : &extensions_[extension];
}

Extension* Tracker::extend(std::uint32_t number) {
  if (Extension* const present = extension(number)) return present;
  const std::uint32_t fresh = extensions_.take(free_extensions_);
  if (fresh == 0) return nullptr;
  std::atomic_ref(arena_[number].extension).store(fresh, std::memory_order_release);
  return &extensions_[fresh];
}

/// The timeouts that hold for a connection: its policy's, or the knobs'. Requires: its lock.
const TimeoutList& Tracker::timeouts_of(const Entry& entry, std::uint32_t status,
                                        std::uint8_t protocol) const {
  if ((status & status::kNeedsExtension) != 0) {
    const TimeoutList* const policy =
        table_.policies_.find(extensions_[entry.extension].timeout_policy);
    if (policy != nullptr) return *policy;
  }
  return table_.sysctl_.timeouts(protocol);
}

std::optional<Found> Tracker::find(const Tuple& tuple, std::uint32_t tag) {
  std::uint32_t restarts = 0;
  const auto found = index_.find(
      tag,
      [&](Found candidate) {
        const Entry& entry = arena_[candidate.number];
        return entry.tuple(candidate.direction) == tuple &&
               !Connection(candidate.number, entry).is_dying();
      },
      &restarts);
  if (restarts != 0) statistics_.search_restart.add(restarts);
  return found;
}

/// The packet's own connection: updated, or begun. False when it must wait for the second pass.
bool Tracker::follow(packet::Packet& packet, const Tuple& tuple, std::uint32_t tag, Time now,
                     BatchEnds& ends) {
  const std::uint16_t reply_zone = template_zone(packet.ct, Direction::reply);
  for (unsigned attempt = 0; attempt < kAttempts; ++attempt) {
    std::optional<Found> found = find(tuple, tag);
    if (!found && reply_zone != tuple.zone) {
      Tuple answer = tuple;
      answer.zone = reply_zone;
      found = find(answer, table_.tag(answer));
    }
    if (!found) {
      const bool must_wait = ends.may_meet(tuple) || has_helped_;
      ends.add(tuple);
      if (must_wait) return false;
      begin(packet, tuple, now);
      if (packet.ct.entry != 0) remember_begun(packet, tag);
      return true;
    }
    // Gone under our hands, or to be begun afresh: it can't be found any more, look again.
    if (update(packet, tuple, *found, now) == Updated::done) return true;
  }
  statistics_.drop.add();
  packet.drop = packet::Drop::conntrack_dropped;
  return true;
}

/// An ICMP error: RELATED to the connection of the packet that it quotes (nf_conntrack_inet_error).
bool Tracker::relate(packet::Packet& packet, const Extracted& what, std::uint32_t tag, Time now,
                     BatchEnds& ends) {
  Tuple tuple = what.tuple;
  std::optional<Found> found = find(tuple, tag);
  const std::uint16_t reply_zone = template_zone(packet.ct, Direction::reply);
  if (!found && reply_zone != tuple.zone) {
    tuple.zone = reply_zone;
    found = find(tuple, table_.tag(tuple));
  }
  if (found && kill_expired(found->number, now)) found.reset();
  if (!found) {
    if (ends.may_meet(what.tuple)) return false;
    set_invalid(packet, Reason::icmp_quote_unknown, true);
    return true;
  }
  if (arena_[found->number].tuple(found->direction).dst != what.outer_dst) {
    set_invalid(packet, Reason::icmp_quote_elsewhere, true);
    return true;
  }
  packet.ct.entry = found->number;
  packet.ct.state = CtState::tracked;
  packet.ct.info = found->direction == Direction::reply ? CtInfo::related_reply : CtInfo::related;
  return true;
}

void Tracker::set_invalid(packet::Packet& packet, Reason reason, bool is_icmp_error) {
  (is_icmp_error ? statistics_.error : statistics_.invalid).add();
  statistics_.reasons[static_cast<std::size_t>(reason)].add();
  packet.ct.entry = 0;
  packet.ct.info = CtInfo::none;
  packet.ct.state = CtState::invalid;
  packet.ct.reason = static_cast<std::uint8_t>(reason);
}

Tracker::Updated Tracker::update(packet::Packet& packet, const Tuple& tuple, Found found,
                                 Time now) {
  Entry& entry = arena_[found.number];
  const auto way = static_cast<std::size_t>(found.direction);
  // Only ICMP asks what the connection began with; for the others the entry's line isn't touched.
  const bool is_icmp = tuple.protocol == protocol::kIcmp || tuple.protocol == protocol::kIcmpv6;
  const Tuple& original = is_icmp ? entry.original : tuple;

  entry.lock.lock();
  Hot hot = entry.hot;  // Nobody writes while we hold the lock.
  const std::uint32_t status_before = hot.status;
  if ((hot.status & status::kDying) != 0) {
    entry.lock.unlock();
    return Updated::gone;
  }
  if (hot.deadline <= now) {
    entry.lock.unlock();
    kill_expired(found.number, now);
    return Updated::gone;
  }

  const Sighting sighting{.now = now,
                          .direction = found.direction,
                          .first = false,
                          .seen_reply = (hot.status & status::kSeenReply) != 0,
                          .assured = (hot.status & status::kAssured) != 0,
                          .fixed_timeout = (hot.status & status::kFixedTimeout) != 0,
                          .expires_in = hot.deadline - now};
  States states{.udp = hot.udp, .tcp = {}};
  states.load(entry, tuple.protocol);
  if ((hot.status & status::kSeqAdjust) != 0 && entry.extension != 0) {
    states.acknowledged = &extensions_[entry.extension].sequence[1 - way];
  }
  const TimeoutList& timeouts = timeouts_of(entry, hot.status, tuple.protocol);
  const Step step =
      dispatch(packet, original, sighting, timeouts, table_.sysctl().tcp_knobs, states);

  const bool belongs = step.outcome == Outcome::accept || step.outcome == Outcome::remove;
  packet.ct.reason = static_cast<std::uint8_t>(step.reason);
  if (belongs) {
    if ((hot.status & status::kNeedsExtension) != 0 && extensions_[entry.extension].helper != 0) {
      has_helped_ = true;
    }
    packet.ct.entry = found.number;
    packet.ct.state = CtState::tracked;
    packet.ct.info = info_for(hot.status, found.direction);
    packet.ct.events |= step.events;
    if (found.direction == Direction::reply && !sighting.seen_reply) {
      hot.status |= status::kSeenReply;
      packet.ct.events |= event::kReply;
    }
    if (step.assured) hot.status |= status::kAssured;
    if (step.counted) {
      ++hot.traffic[way].packets;
      hot.traffic[way].bytes += packet.ip_length;
    }
    if (step.timeout && !sighting.fixed_timeout) hot.deadline = now + *step.timeout;
  }
  if (step.outcome == Outcome::remove || step.outcome == Outcome::reopen) {
    hot.status |= status::kDying;
  }
  const bool must_hasten =
      has_state_line(tuple.protocol) && is_overdue_on_wheel(entry, hot.deadline);
  const std::uint32_t sequence = entry.sequence.load(std::memory_order_relaxed);
  entry.sequence.store(sequence + 1, std::memory_order_relaxed);
  store_words(entry.hot.traffic[way], hot.traffic[way]);
  store_words(entry.hot.deadline, hot.deadline);
  if (hot.status != status_before) {
    std::atomic_ref(entry.hot.status).store(hot.status, std::memory_order_release);
  }
  states.store(entry, tuple.protocol);
  entry.sequence.store(sequence + 2, std::memory_order_release);
  entry.lock.unlock();
  if (must_hasten) hasten(found.number, now);

  switch (step.outcome) {
    case Outcome::accept:
      if (step.reason != Reason::none) {
        statistics_.reasons[static_cast<std::size_t>(step.reason)].add();
      }
      return Updated::done;
    case Outcome::remove:
      finish_kill(found.number, now, 0);
      return Updated::done;
    case Outcome::reopen:
      finish_kill(found.number, now, 0);
      return Updated::reopen;
    case Outcome::drop:
      statistics_.drop.add();
      set_invalid(packet, step.reason, false);
      packet.drop = packet::Drop::conntrack_dropped;
      return Updated::done;
    case Outcome::invalid:
      set_invalid(packet, step.reason, false);
      return Updated::done;
  }
  return Updated::done;
}

/// Counts a connection that is to begin for its source and zone; where one has too many the packet
/// is dropped, before anything else makes room for it. Requires: there are limits.
bool Tracker::is_within_limits(packet::Packet& packet, const Tuple& tuple) {
  switch (table_.limits_.admit(tuple)) {
    case Limits::Admission::admitted:
      return true;
    case Limits::Admission::source_is_full:
      statistics_.refused_source.add();
      packet.drop = packet::Drop::conntrack_source_limit;
      break;
    case Limits::Admission::zone_is_full:
      statistics_.refused_zone.add();
      packet.drop = packet::Drop::conntrack_zone_limit;
      break;
  }
  statistics_.drop.add();
  return false;
}

/// A packet of no connection that is known: begins one, which nobody else sees yet.
void Tracker::begin(packet::Packet& packet, const Tuple& tuple, Time now) {
  const std::optional<Tuple> reply = invert(tuple);
  if (!reply) return set_invalid(packet, Reason::icmp_not_a_beginning, false);

  States states{};
  const Sysctl& sysctl = table_.sysctl();
  const Step step = dispatch(packet, tuple, {.now = now, .first = true},
                             sysctl.timeouts(tuple.protocol), sysctl.tcp_knobs, states);
  if (step.outcome == Outcome::drop) {
    statistics_.drop.add();
    packet.drop = packet::Drop::conntrack_dropped;
  }
  if (step.outcome != Outcome::accept) return set_invalid(packet, step.reason, false);

  const std::uint8_t era = table_.limits_.era();
  if (era != 0 && !is_within_limits(packet, tuple)) return;
  const std::uint32_t number = make_room(now);
  if (number == 0) {
    if (era != 0) table_.limits_.withdraw(tuple);
    statistics_.drop.add();
    statistics_.refused.add();
    packet.drop = packet::Drop::conntrack_table_full;
    return;
  }
  Entry& entry = arena_[number];
  entry.owner.store(static_cast<std::uint8_t>(worker_), std::memory_order_relaxed);
  entry.hot = {};
  // Relative until it is confirmed.
  entry.hot.deadline = Time(step.timeout.value_or(Duration{}));
  entry.hot.status = step.assured ? status::kAssured : 0;
  if (step.counted) entry.hot.traffic[0] = {.packets = 1, .bytes = packet.ip_length};
  entry.hot.udp = states.udp;
  entry.original = tuple;
  entry.reply = *reply;
  entry.reply.zone = template_zone(packet.ct, Direction::reply);
  entry.start = {};
  entry.stop = {};
  entry.nat = {};
  entry.reply_reserved = false;
  entry.counted.store(era, std::memory_order_relaxed);
  entry.extension = 0;
  states.store(entry, tuple.protocol);

  const auto expectation = table_.expectations_.take(tuple, now);
  const bool is_expected = expectation && begin_expected(number, *expectation);

  packet.ct.entry = number;
  packet.ct.info = is_expected ? CtInfo::related : CtInfo::is_new;
  packet.ct.state = CtState::tracked;
  packet.ct.reason = static_cast<std::uint8_t>(step.reason);
  packet.ct.events |= step.events;
}

void Tracker::set_mark(packet::Packet& packet, std::uint32_t mark) {
  Entry& entry = arena_[packet.ct.entry];
  entry.lock.lock();
  std::atomic_ref field(entry.hot.mark);
  if (field.load(std::memory_order_relaxed) != mark) {
    field.store(mark, std::memory_order_release);
    packet.ct.events |= event::kMark;
  }
  entry.lock.unlock();
}

void Tracker::add_status(std::uint32_t number, std::uint32_t bits) {
  Entry& entry = arena_[number];
  entry.lock.lock();
  std::atomic_ref field(entry.hot.status);
  field.store(field.load(std::memory_order_relaxed) | bits, std::memory_order_release);
  entry.lock.unlock();
}

void Tracker::set_nat(std::uint32_t number, const NatInfo& nat) { arena_[number].nat = nat; }

}  // namespace weir::conntrack
