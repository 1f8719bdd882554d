// How an entry that one packet has begun becomes visible to all.
//
// Until then the index knows nothing of it, or only a reservation of its reply tuple, which
// look-ups of packets pass over. Publishing takes the entry's lock and then the stripes of both
// tuples, checks that neither is somebody else's, and turns both slots on. The entry's lock is kept
// until the NEW event is out, so that whoever finds the entry at once waits with its own event.
// Nobody takes an entry's lock while holding a stripe.
//
// When the original tuple is taken, another packet of the same flow has won: this packet joins the
// winner's entry as if it had come a moment later, and our entry is forgotten.

#include <cassert>
#include <mutex>
#include <optional>

#include "conntrack/tracker.h"

namespace weir::conntrack {
namespace {

constexpr unsigned kAttempts = 8;  // How often others' entries may change under us.
constexpr unsigned kSplitsAhead =
    2;  // What an overfull line may cost at once; doubled at each attempt.

using packet::CtInfo;
using packet::CtState;

}  // namespace

Confirmed Tracker::confirm(packet::Packet& packet, Time now) {
  if (packet.ct.entry == 0) return Confirmed::done;
  Entry& entry = arena_[packet.ct.entry];
  if (Connection(packet.ct.entry, entry).is_confirmed()) {
    if ((packet.ct.events & table_.wanted_events()) != 0) {
      entry.lock.lock();
      deliver(packet.ct.entry, packet.ct.events);
      entry.lock.unlock();
    }
    packet.ct.events = 0;
    return Confirmed::done;
  }
  // A packet that we made ourselves (a reset, an ICMP error) about an entry that is not to be seen
  // yet.
  if (!may_begin(packet)) return Confirmed::done;

  const std::uint32_t number = packet.ct.entry;
  for (unsigned attempt = 0; attempt < kAttempts; ++attempt) {
    Found holder;
    switch (try_publish(number, packet.ct.events, now, holder)) {
      case Published::done:
        packet.ct.events = 0;
        return Confirmed::done;
      case Published::no_room:
        index_.grow_anyway(kSplitsAhead << attempt);
        continue;
      case Published::original_taken:
        if (kill_expired(holder.number, now)) continue;
        if (join(packet, holder, now)) return Confirmed::lost_race;
        continue;
      case Published::reply_taken:
        if (kill_expired(holder.number, now)) continue;
        return Confirmed::reply_taken;
    }
  }
  statistics_.chain_too_long.add();
  statistics_.insert_failed.add();
  return Confirmed::no_room;
}

bool Tracker::is_holder(Found found, const Tuple& tuple, std::uint32_t except) const {
  const Entry& entry = arena_[found.number];
  return found.number != except && entry.tuple(found.direction) == tuple &&
         !Connection(found.number, entry).is_dying();
}

Tracker::Published Tracker::try_publish(std::uint32_t number, std::uint32_t events, Time now,
                                        Found& holder, std::uint32_t port_id) {
  Entry& entry = arena_[number];
  const Tags tags = tags_of(number);
  const std::uint32_t original_tag = tags.original;
  const std::uint32_t reply_tag = tags.reply;
  assert(original_tag == table_.tag(entry.original) && reply_tag == table_.tag(entry.reply));
  const Found original{number, Direction::original};
  const Found reply{number, Direction::reply};

  std::unique_lock lock(entry.lock);
  {
    const Index::Guard guard(index_, original_tag, reply_tag);
    const auto taken = [&](std::uint32_t tag, const Tuple& tuple) {
      return index_.find_locked(tag, [&](Found f) { return is_holder(f, tuple, number); });
    };
    if (const auto found = taken(original_tag, entry.original)) {
      holder = *found;
      // Reserved as a reply by a connection that isn't published: not a race of this flow.
      const bool is_published = Connection(found->number, arena_[found->number]).is_confirmed();
      return is_published ? Published::original_taken : Published::reply_taken;
    }
    if (!entry.reply_reserved) {
      if (const auto found = taken(reply_tag, entry.reply)) {
        holder = *found;
        return Published::reply_taken;
      }
    }
    if (!index_.insert(original_tag, original, true)) return Published::no_room;
    if (!entry.reply_reserved && !index_.insert(reply_tag, reply, true)) {
      index_.erase(original_tag, original);
      return Published::no_room;
    }
    entry.reply_reserved = false;
    entry.hot.deadline += now.time_since_epoch();
    entry.hot.status |= status::kConfirmed;
    if (table_.sysctl().timestamp.is_on()) entry.start = table_.wall(now);
    index_.publish(original_tag, original);
    index_.publish(reply_tag, reply);
    entry.committed.store(1, std::memory_order_release);
  }
  table_.limits_.count(entry);
  hang(number, now);
  statistics_.created.add();
  events |= (entry.hot.status & status::kExpected) != 0 ? event::kRelated : event::kNew;
  if ((events & table_.wanted_events()) != 0) deliver(number, events, port_id);
  lock.unlock();
  index_.grow(2);
  return Published::done;
}

/// The packet goes on with the entry that won. False when that one has vanished meanwhile.
bool Tracker::join(packet::Packet& packet, Found winner, Time now) {
  const packet::CtRef before = packet.ct;
  packet.ct.events = 0;
  if (update(packet, arena_[winner.number].tuple(winner.direction), winner, now) != Updated::done) {
    packet.ct = before;
    return false;
  }
  if (packet.ct.state != CtState::tracked) {
    // It would have been INVALID a moment later, but it is of this flow: it goes out.
    packet.ct.entry = winner.number;
    packet.ct.state = CtState::tracked;
    packet.ct.info =
        winner.direction == Direction::reply ? CtInfo::established_reply : CtInfo::established;
  }
  free_unconfirmed(before.entry);
  statistics_.clash_resolve.add();
  return true;
}

void Tracker::discard(packet::Packet& packet) {
  const std::uint32_t number = packet.ct.entry;
  if (number == 0) return;
  const Connection connection = entry(number);
  if (connection.is_confirmed()) {
    confirm(packet, Time{});  // Delivers what the packet has changed.
  } else if (may_begin(packet)) {
    free_unconfirmed(number);
  }
  packet.ct.entry = 0;
  packet.ct.info = CtInfo::none;
  packet.ct.events = 0;
}

void Tracker::free_unconfirmed(std::uint32_t number) {
  release_reservation(number);
  forget_expectations(number);
  table_.limits_.end(arena_[number]);
  give_back(number);
  table_.count_.fetch_sub(1, std::memory_order_relaxed);
}

void Tracker::release_reservation(std::uint32_t number) {
  Entry& entry = arena_[number];
  if (!entry.reply_reserved) return;
  table_.tell_freed(entry.reply);
  const std::uint32_t tag = tags_of(number).reply;
  const Index::Guard guard(index_, tag);
  index_.erase(tag, {number, Direction::reply});
  entry.reply_reserved = false;
}

bool Tracker::reserve_reply(std::uint32_t number, const Tuple& reply, Time now) {
  Entry& entry = arena_[number];
  const std::uint32_t tag = table_.tag(reply);
  const std::uint32_t old_tag = tags_of(number).reply;
  const Found mine{number, Direction::reply};
  if (entry.reply_reserved && entry.reply == reply) return true;

  for (unsigned attempt = 0; attempt < kAttempts; ++attempt) {
    std::optional<Found> holder;
    bool has_room = true;
    {
      const Index::Guard guard(index_, tag, old_tag);
      holder = index_.find_locked(tag, [&](Found f) { return is_holder(f, reply, number); });
      // Held by another packet of this very flow: one of us will join the other when it is
      // confirmed.
      const bool is_same_flow = holder && arena_[holder->number].original == entry.original;
      if (!holder || is_same_flow) {
        has_room = is_same_flow || index_.insert(tag, mine, true);
        if (has_room) {
          if (entry.reply_reserved) index_.erase(old_tag, mine);
          entry.reply = reply;
          entry.reply_reserved = !is_same_flow;
          if (Tags& tags = begun_[number % packet::kBatchMax]; tags.number == number) {
            tags.reply = tag;
          }
          return true;
        }
      }
    }
    if (!has_room) {
      index_.grow_anyway(kSplitsAhead << attempt);
    } else if (!kill_expired(holder->number, now)) {
      statistics_.found.add();
      return false;
    }
  }
  return false;
}

bool Tracker::is_taken(const Tuple& tuple, std::uint32_t except, Time now) {
  const std::uint32_t tag = table_.tag(tuple);
  for (unsigned attempt = 0; attempt < kAttempts; ++attempt) {
    std::optional<Found> holder;
    {
      const Index::Guard guard(index_, tag);
      holder = index_.find_locked(tag, [&](Found f) { return is_holder(f, tuple, except); });
    }
    if (!holder) return false;
    if (!kill_expired(holder->number, now)) break;
  }
  statistics_.found.add();
  return true;
}

}  // namespace weir::conntrack
