#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

#include "base/bytes.h"
#include "base/siphash.h"
#include "base/spin.h"
#include "conntrack/proto/step.h"
#include "conntrack/sysctl.h"
#include "conntrack/tuple.h"

namespace weir::conntrack {

/// GRE, as nf_conntrack_proto_gre.c tracks it. Version 0 (RFC 2784, RFC 2890) is told apart by its
/// addresses alone. Version 1 is PPTP's (RFC 2637): a packet names only its receiver's call id,
/// which is the tuple's destination key; the sender's own, the source key, comes from the keymap
/// that a PPTP helper fills.

/// Either direction's traffic prolongs it; answered, it is assured.
Step track_gre(const Sighting& sighting, const TimeoutList& timeouts);

/// The source keys of PPTP calls. An entry says: GRE packets with these addresses and this
/// destination key have that source key. Rare, so it is a small table: writers are helpers on any
/// worker, readers are the workers that see GRE of version 1. Each takes one shard's lock for a few
/// instructions; while the map is empty nobody does.
class GreKeymap {
 public:
  explicit GreKeymap(const HashKey& key);

  /// `tuple` with its source key: family, addresses and destination key are what is looked up. The
  /// entry belongs to the connection (number and generation) that `owner` and `generation` name.
  /// False when there is no room for it. What is there already is replaced.
  bool add(const Tuple& tuple, std::uint32_t owner, std::uint32_t generation);
  /// The source key for a packet's tuple; zero when none is known.
  Be16 find(const Tuple& tuple) const;
  /// Takes away what belongs to a connection.
  void remove(std::uint32_t owner, std::uint32_t generation);

  std::uint32_t size() const { return size_.load(std::memory_order_relaxed); }

 private:
  static constexpr std::size_t kShards = 64;
  static constexpr std::size_t kSlots = 32;  // A shard's.

  struct Slot {
    Tuple tuple;  // Family none: free.
    std::uint32_t owner = 0;
    std::uint32_t generation = 0;
  };
  struct alignas(64) Shard {
    mutable SpinLock lock;  // Guards the slots.
    std::array<Slot, kSlots> slots;
  };

  Shard& shard_of(const Tuple& tuple) const;
  static bool matches(const Slot& slot, const Tuple& tuple);

  HashKey key_;
  std::unique_ptr<std::array<Shard, kShards>> shards_;
  std::atomic<std::uint32_t> size_{0};
};

/// The keys of the packet that fills `l4` into `tuple`, whose addresses are there already. `keymap`
/// may be null. False for version 1 that carries no PPP: it can't be tracked.
bool read_gre_keys(Bytes l4, const GreKeymap* keymap, Tuple& tuple);

}  // namespace weir::conntrack
