// Tracking a batch, stage by stage. A look-up alone would wait for memory twice: for the line of
// the index, then for the entry. So each stage does one thing for all packets and asks for the
// memory that the next one needs:
//
//   extract   each packet's tuple, its headers and checksum verified
//   hash      all tuples side by side
//   find      fetch the index lines; look for the tags; fetch the entries
//   track     packet by packet: compare the tuple, update the entry under its lock
//
// What `find` brings is a guess: the first slot with the tuple's tag, which another worker may
// change meanwhile. `track` compares the whole tuple, and what doesn't prove right (a new
// connection, an entry that has just died, an ICMP error) takes the slow way, which looks again.
#include <array>
#include <new>

#include "conntrack/batch_ends.h"
#include "conntrack/extract.h"
#include "conntrack/tracker.h"
#include "conntrack/tuple_hash.h"
#include "wire/protocol.h"

namespace weir::conntrack {

using packet::CtState;
using packet::kBatchMax;

/// By position in the batch; each stage fills in what the next one reads. It is kept from batch to
/// batch, so that nothing needs to be cleared.
struct Tracker::Work {
  std::array<bool, kBatchMax> is_wanted{};  // Not notrack, not dropped.
  std::array<Extracted, kBatchMax> what;
  std::array<const Tuple*, kBatchMax> tuples;
  std::array<std::uint64_t, kBatchMax> hashes{};
  std::array<Found, kBatchMax> guesses;  // Number zero: none.

  // The entries that the batch has begun.
  std::size_t begun_count = 0;
  std::array<std::uint32_t, kBatchMax> begun;

  Work() {
    for (std::size_t i = 0; i < kBatchMax; ++i) tuples[i] = &what[i].tuple;
  }
};

Tracker::Tracker(Table& table, std::uint32_t worker)
    : table_(table),
      arena_(table.arena_),
      extensions_(table.extensions_),
      index_(table.index_),
      worker_(worker),
      assured_(arena_.wheel_links()),
      unassured_(arena_.wheel_links()),
      work_(std::make_unique<Work>()),
      events_(table.options().event_ring) {}

Tracker::~Tracker() = default;

void Tracker::track(packet::Batch& batch, packet::Batch& later, bool verify) {
  const std::size_t count = batch.size();
  extract_all(batch, verify && table_.sysctl().checksum.is_on());
  hash_all(count);
  find_all(count);

  work_->begun_count = 0;
  BatchEnds ends;
  has_helped_ = false;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < count; ++i) {
    packet::Packet* const packet = batch[i];
    if (work_->is_wanted[i] && !track_one(*packet, i, batch.now, ends)) {
      later.add(packet);
    } else {
      batch[kept++] = packet;
    }
  }
  batch.shrink_to(kept);
  if (work_->begun_count != 0) prepare_publishing();
}

void Tracker::extract_all(const packet::Batch& batch, bool verify) {
  Work& work = *work_;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    packet::Packet& packet = *batch[i];
    work.is_wanted[i] =
        packet.ct.state == CtState::not_tracked_yet && packet.drop == packet::Drop::none;
    if (work.is_wanted[i])
      new (&work.what[i]) Extracted(extract(packet, verify, &table_.gre_keymap_));
  }
}

void Tracker::hash_all(std::size_t count) {
  // Also those that have no tuple: an old one lies there, and its hash isn't looked at.
  hash_tuples(arena_.key(), work_->tuples.data(), count, work_->hashes.data());
}

void Tracker::find_all(std::size_t count) {
  Work& work = *work_;
  for (std::size_t i = 0; i < count; ++i) index_.prefetch(Index::tag_of(work.hashes[i]));
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t tag = Index::tag_of(work.hashes[i]);
    const Found guess = work.guesses[i] = index_.guess(tag);
    if (guess.number == 0) {
      index_.prefetch_second(tag);
      continue;
    }
    const Entry& entry = arena_[guess.number];
    __builtin_prefetch(&entry, 1);
    __builtin_prefetch(&entry.tuple(guess.direction));
    if (has_state_line(work.what[i].tuple.protocol)) __builtin_prefetch(&entry.tcp, 1);
  }
}

void Tracker::remember_begun(const packet::Packet& packet, std::uint32_t tag) {
  const std::uint32_t number = packet.ct.entry;
  begun_[number % kBatchMax] = {
      .number = number, .generation = arena_[number].generation, .original = tag, .reply = 0};
  work_->begun[work_->begun_count++] = number;
}

/// New connections are published at the end of the path: their reply tuples are hashed side by side
/// and the index lines fetched while rules and NAT work.
void Tracker::prepare_publishing() {
  Work& work = *work_;
  std::array<const Tuple*, kBatchMax> replies;
  for (std::size_t i = 0; i < work.begun_count; ++i) replies[i] = &arena_[work.begun[i]].reply;
  hash_tuples(arena_.key(), replies.data(), work.begun_count, work.hashes.data());
  for (std::size_t i = 0; i < work.begun_count; ++i) {
    const std::uint32_t number = work.begun[i];
    Tags& tags = begun_[number % kBatchMax];
    if (tags.number != number) continue;  // Another one has taken the place.
    tags.reply = Index::tag_of(work.hashes[i]);
    index_.prefetch(tags.reply);
    index_.prefetch_second(tags.reply);
  }
}

Tracker::Tags Tracker::tags_of(std::uint32_t number) const {
  const Entry& entry = arena_[number];
  const Tags& begun = begun_[number % kBatchMax];
  if (begun.number == number && begun.generation == entry.generation) return begun;
  return {.number = number,
          .generation = entry.generation,
          .original = table_.tag(entry.original),
          .reply = table_.tag(entry.reply)};
}

/// What update() does, for the packets that are most: UDP of a living connection whose timeouts are
/// the knobs'. False, and nothing done, for any other.
bool Tracker::update_udp(packet::Packet& packet, Found found, Time now) {
  constexpr std::uint32_t kUnusual =
      status::kDying | status::kFixedTimeout | status::kNeedsExtension | status::kExpected;
  Entry& entry = arena_[found.number];
  entry.lock.lock();
  Hot& hot = entry.hot;  // Nobody else writes while we hold the lock.
  const std::uint32_t before = hot.status;
  if ((before & kUnusual) != 0 || hot.deadline <= now) {
    entry.lock.unlock();
    return false;
  }
  const bool is_reply = found.direction == Direction::reply;
  const bool seen_reply = (before & status::kSeenReply) != 0;
  UdpState udp = hot.udp;
  const Step step = udp.on_packet({.now = now,
                                   .direction = found.direction,
                                   .seen_reply = seen_reply,
                                   .assured = (before & status::kAssured) != 0},
                                  table_.sysctl().udp);
  const std::uint32_t after =
      before | (is_reply ? status::kSeenReply : 0) | (step.assured ? status::kAssured : 0);
  Traffic& traffic = hot.traffic[static_cast<std::size_t>(found.direction)];
  const std::uint32_t sequence = entry.sequence.load(std::memory_order_relaxed);
  entry.sequence.store(sequence + 1, std::memory_order_relaxed);
  store_words(traffic, {traffic.packets + 1, traffic.bytes + packet.ip_length});
  store_words(hot.deadline, now + *step.timeout);
  if (after != before) std::atomic_ref(hot.status).store(after, std::memory_order_release);
  entry.sequence.store(sequence + 2, std::memory_order_release);
  entry.lock.unlock();

  // NAT will ask what the other direction looks like.
  if ((before & status::kNatMask) != 0) {
    __builtin_prefetch(&entry.tuple(opposite(found.direction)));
  }
  packet.ct.entry = found.number;
  packet.ct.state = CtState::tracked;
  packet.ct.info = is_reply     ? packet::CtInfo::established_reply
                   : seen_reply ? packet::CtInfo::established
                                : packet::CtInfo::is_new;
  packet.ct.reason = static_cast<std::uint8_t>(Reason::none);
  packet.ct.events |= step.events | (is_reply && !seen_reply ? event::kReply : 0);
  return true;
}

/// False when the packet must wait for the second pass.
bool Tracker::track_one(packet::Packet& packet, std::size_t i, Time now, BatchEnds& ends) {
  const Extracted& what = work_->what[i];
  const std::uint32_t tag = Index::tag_of(work_->hashes[i]);
  switch (what.kind) {
    case Extracted::Kind::tuple: {
      const Found guess = work_->guesses[i];
      if (guess.number != 0 && arena_[guess.number].tuple(guess.direction) == what.tuple) {
        const bool is_udp = what.tuple.protocol == wire::protocol::kUdp;
        if (is_udp && update_udp(packet, guess, now)) return true;
        if (update(packet, what.tuple, guess, now) == Updated::done) return true;
      }
      return follow(packet, what.tuple, tag, now, ends);
    }
    case Extracted::Kind::quoted:
      return relate(packet, what, tag, now, ends);
    case Extracted::Kind::untracked:
      packet.ct.state = CtState::untracked;
      return true;
    case Extracted::Kind::invalid:
      set_invalid(packet, what.reason, what.is_icmp_error);
      return true;
  }
  return true;
}

}  // namespace weir::conntrack
