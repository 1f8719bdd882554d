#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/clock.h"
#include "routing/types.h"

namespace weir::routing {

/// NUD_*, what the kernel knows of a neighbour.
enum class NeighbourState : std::uint8_t {
  none = 0,
  incomplete = 0x01,
  reachable = 0x02,
  stale = 0x04,
  delay = 0x08,
  probe = 0x10,
  failed = 0x20,
  noarp = 0x40,
  permanent = 0x80,
};

struct NeighbourKey {
  std::uint32_t ifindex = 0;
  wire::Family family = wire::Family::none;
  wire::Address address;
  bool operator==(const NeighbourKey&) const = default;
};

/// What a worker gets to know of a next hop.
struct Neighbour {
  enum class Status : std::uint8_t {
    unknown,   // Nobody has asked yet, or the question is under way: hold the packet.
    resolved,  // `mac` is good.
    failed,    // The kernel gave up: host unreachable.
  };
  Status status = Status::unknown;
  NeighbourState state = NeighbourState::none;
  Mac mac{};
};

/// The kernel's neighbour table (ARP and ND), mirrored for workers.
///
/// Problem: every packet that goes out asks it, on all workers, while one control thread changes it. Idea:
/// a hash table of entries that never move while they are known; an entry's MAC and state are one 64-bit
/// word, so a change is one store and a look-up one load behind the chain. Unlinked entries, and bucket
/// arrays that were outgrown, are freed by epoch.
///
/// A worker that finds no answer asks for one, and a worker that uses an aging one asks for confirmation;
/// both go through a small ring that the control thread drains (take_question). An entry remembers when it
/// was last asked about, so questions are bounded: one a second for an unresolved address, one in thirty
/// for a stale one.
class Neighbours {
 public:
  /// Retires memory that readers may still see; called on the control thread only.
  using Retire = void (*)(void* context, void* memory, void (*release)(void*));

  Neighbours(Retire retire, void* retire_context);
  ~Neighbours();
  Neighbours(const Neighbours&) = delete;
  Neighbours& operator=(const Neighbours&) = delete;

  // Workers, within an epoch.

  /// Looks a next hop up and, where needed, puts a question to the kernel. `now` paces the questions.
  Neighbour resolve(const NeighbourKey& key, Time now);
  /// Looks up only.
  Neighbour find(const NeighbourKey& key) const;
  /// Changes whenever any entry changes: held packets are looked at again only then.
  std::uint64_t version() const { return version_.load(std::memory_order_acquire); }

  // The control thread.

  void set(const NeighbourKey& key, NeighbourState state, const Mac& mac);
  void remove(const NeighbourKey& key);
  /// Forgets every entry of a link.
  void remove_link(std::uint32_t ifindex);
  void clear();
  /// The next address that somebody wants resolved or confirmed; false when there is none.
  bool take_question(NeighbourKey& key);
  std::size_t size() const { return count_; }
  /// Questions that found the ring full (asked again a second later).
  std::uint64_t lost_questions() const { return lost_.load(std::memory_order_relaxed); }

 private:
  struct Entry;
  struct Buckets;
  struct Questions;

  Entry* find_entry(const NeighbourKey& key) const;
  void ask(const NeighbourKey& key);
  void grow();

  Retire retire_;
  void* retire_context_;
  std::atomic<Buckets*> buckets_;
  std::size_t count_ = 0;               // Control thread's.
  std::atomic<std::uint64_t> version_{1};
  std::atomic<std::uint64_t> lost_{0};
  std::unique_ptr<Questions> questions_;
};

}  // namespace weir::routing
