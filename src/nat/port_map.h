#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

#include "base/clock.h"
#include "base/error.h"
#include "base/mapping.h"
#include "base/siphash.h"
#include "base/spin.h"
#include "conntrack/tuple.h"

namespace weir::nat {

/// Which ports (or ICMP ids) of one pool are taken, as far as is known: a port that is marked may
/// be free, and the other way round; the index of connections has the last word. So all access is
/// relaxed and without locks.
class PortMap {
 public:
  void mark(std::uint16_t port) { word(port).fetch_or(bit(port), std::memory_order_relaxed); }
  void clear(std::uint16_t port) { word(port).fetch_and(~bit(port), std::memory_order_relaxed); }
  bool is_marked(std::uint16_t port) const {
    return (words_[port / 64].load(std::memory_order_relaxed) & bit(port)) != 0;
  }
  void clear_all();

  /// The first unmarked port at or after `from` within [first, first + count), going round at its
  /// end.
  std::optional<std::uint16_t> next_free(std::uint16_t from, std::uint32_t first,
                                         std::uint32_t count) const;

 private:
  static std::uint64_t bit(std::uint16_t port) { return std::uint64_t{1} << (port % 64); }
  std::atomic<std::uint64_t>& word(std::uint16_t port) { return words_[port / 64]; }
  std::optional<std::uint16_t> first_free(std::uint32_t from, std::uint32_t end) const;

  std::array<std::atomic<std::uint64_t>, 1024> words_;
};

/// Port maps of the pools that are crowded. A pool is what one translated address offers towards
/// one address and port, for one protocol and zone: within it no two connections may have one port.
/// Most pools are nearly empty and need no map; one is opened when a search has met taken ports in
/// a row. There are few maps; a pool that becomes crowded takes over the one that has not been used
/// for longest.
class PortMaps {
 public:
  static constexpr std::size_t kMaps = 64;

  /// Memory for the maps, for the constructor. Errors: ENOMEM.
  static Result<Mapping> reserve();
  PortMaps(Mapping memory, const HashKey& key) : memory_(std::move(memory)), key_(key) {}

  /// The map of the pool to which the reply tuple of a source mapping belongs; null when it has
  /// none.
  PortMap* find(const conntrack::Tuple& reply, Time now);
  /// The same, made if need be. Null when another worker is just making one.
  PortMap* open(const conntrack::Tuple& reply, Time now);
  /// The reply tuple has become free.
  void freed(const conntrack::Tuple& reply);

 private:
  static constexpr std::size_t kWays = 4;
  struct alignas(64) Slot {
    std::atomic<std::uint64_t> pool;  // Its hash; zero: none.
    std::atomic<std::int64_t> used;   // When it was last asked for.
    PortMap map;
  };
  std::uint64_t pool_of(conntrack::Tuple reply) const;
  Slot* slots(std::uint64_t pool) const;
  Slot* slot_of(std::uint64_t pool) const;

  Mapping memory_;
  HashKey key_;
  SpinLock opening_;
};

}  // namespace weir::nat
