#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/siphash.h"
#include "routing/retired.h"
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
/// Problem: every packet that goes out asks it, on all workers, while one control thread changes
/// it. Idea: a hash table of entries that never move while they are known; an entry's MAC and state
/// are one 64-bit word, so a change is one store and a look-up one load behind the chain. Unlinked
/// entries, and bucket arrays that were outgrown, are freed by epoch.
///
/// A worker that finds no answer asks for one, and a worker that uses an aging one asks for
/// confirmation; both go through a small ring that the control thread drains (take_question). An
/// entry remembers when it was last asked about, so questions are bounded: one a second for an
/// unresolved address, one in five for a stale one. A failed one that is wanted again is asked
/// about again and counts as unknown meanwhile.
class Neighbours {
 public:
  /// `epochs`: the workers'; null when nobody reads while it changes (replay, tests).
  explicit Neighbours(Epochs* epochs = nullptr);
  ~Neighbours();
  Neighbours(const Neighbours&) = delete;
  Neighbours& operator=(const Neighbours&) = delete;

  // Workers, within an epoch.

  /// Looks a next hop up and, where needed, puts a question to the kernel. `now` paces the
  /// questions.
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
  /// Every entry's key, e.g. to find those that a new dump no longer has.
  std::vector<NeighbourKey> keys() const;
  /// The next address that somebody wants resolved or confirmed; false when there is none.
  bool take_question(NeighbourKey& key);
  /// Frees memory that no worker can see any more.
  void collect() { retired_.collect(); }
  std::size_t size() const { return count_; }
  /// Readable (an eventfd) when questions wait; take_question makes it quiet again.
  int question_fd() const { return question_fd_; }
  /// Questions that found the ring full (asked again a second later).
  std::uint64_t lost_questions() const { return lost_.load(std::memory_order_relaxed); }

 private:
  struct Entry;
  struct Buckets;
  class Questions;

  Entry* find_entry(const NeighbourKey& key) const;
  std::uint64_t hash(const NeighbourKey& key) const;
  bool may_ask(std::atomic<std::int64_t>& last_asked, Time now, Duration pace);
  void ask(const NeighbourKey& key);
  void grow();
  void changed() { version_.fetch_add(1, std::memory_order_release); }

  Retired retired_;
  HashKey hash_key_;
  std::atomic<Buckets*> buckets_;
  std::size_t count_ = 0;  // The control thread's.
  std::atomic<std::uint64_t> version_{1};
  std::atomic<std::uint64_t> lost_{0};
  std::unique_ptr<Questions> questions_;  // Workers put, the control thread takes.
  int question_fd_;
  std::atomic<bool> is_signalled_{false};
  /// When addresses without an entry were last asked about, by hash. Two that share a slot are
  /// asked about a little later, no more.
  std::unique_ptr<std::atomic<std::int64_t>[]> asked_;
};

/// The next hops that one worker has used last, so that most packets need no look-up. An answer
/// holds while nothing has changed in the table. Only answers that need no questions are kept:
/// those of reachable and permanent neighbours.
class RecentNeighbours {
 public:
  Neighbour resolve(Neighbours& neighbours, const NeighbourKey& key, Time now) {
    Recent& recent = recent_[slot(key)];
    const std::uint64_t version = neighbours.version();
    if (recent.version == version && recent.key == key) return recent.answer;
    const Neighbour answer = neighbours.resolve(key, now);
    if (answer.status == Neighbour::Status::resolved && answer.state != NeighbourState::stale) {
      recent = {.version = version, .key = key, .answer = answer};
    }
    return answer;
  }

 private:
  static constexpr std::size_t kSlots = 64;
  struct Recent {
    std::uint64_t version = 0;
    NeighbourKey key;
    Neighbour answer;
  };
  /// Not secret: whoever makes addresses collide here costs us a look-up.
  static std::size_t slot(const NeighbourKey& key) {
    const std::uint8_t* const bytes = key.address.bytes.data();
    const std::uint64_t mixed = (load<std::uint64_t>(bytes) ^ load<std::uint64_t>(bytes + 8) ^
                                 std::uint64_t{key.ifindex} << 40) *
                                0x9e3779b97f4a7c15;
    return mixed >> 58;
  }
  std::array<Recent, kSlots> recent_{};
};

}  // namespace weir::routing
