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

/// False when the packet must wait for the second pass.
bool Tracker::track_one(packet::Packet& packet, std::size_t i, Time now, BatchEnds& ends) {
  const Extracted& what = work_->what[i];
  const std::uint32_t tag = Index::tag_of(work_->hashes[i]);
  switch (what.kind) {
    case Extracted::Kind::tuple: {
      const Found guess = work_->guesses[i];
      if (guess.number != 0 && arena_[guess.number].tuple(guess.direction) == what.tuple &&
          update(packet, what.tuple, guess, now) == Updated::done) {
        return true;
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
