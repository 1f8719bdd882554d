#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "routing/retired.h"
#include "routing/types.h"

namespace weir::routing {

/// The routes of one prefix, in the order that a look-up tries them. Immutable once published.
struct PrefixRoutes {
  std::uint8_t length = 0;
  std::vector<RouteEntry> entries;
};

/// Longest-prefix match for one table and family, changed by one writer while workers read.
///
/// A trie over the address's bytes with path compression: an inner node branches on one byte, and
/// chains without a branch or a prefix don't exist. So IPv4 takes at most four nodes, usually two
/// or three, and IPv6 as many as the table's prefixes differ in. Prefixes whose last bit lies in a
/// node's byte live in that node. A node keeps one slot for each run of byte values that lead to
/// the same child and the same longest prefix of this node; a 256-bit map marks where runs begin,
/// and counting bits finds the slot. That makes a node two cache lines when few prefixes hang on
/// it, and never more than the prefixes need.
///
/// Readers: they follow atomic pointers only. Everything else in a node is immutable: the writer
/// builds a changed node anew and swaps the one pointer that leads to it, so a change costs one
/// node (at most two), however many routes there are. Longer prefixes are not expanded into the
/// nodes below: a look-up keeps the matches of the nodes that it passes and tries them from the
/// longest on. What was replaced is given to `retired`.
class PrefixTrie {
 public:
  /// `retired` outlives the trie.
  PrefixTrie(wire::Family family, Retired& retired);
  ~PrefixTrie();
  PrefixTrie(const PrefixTrie&) = delete;
  PrefixTrie& operator=(const PrefixTrie&) = delete;

  /// Calls `visit(const PrefixRoutes&)` for every prefix that contains the address, the longest
  /// first, until it returns true. Returns whether it did.
  template <typename Visit>
  bool longest_first(const wire::Address& address, Visit&& visit) const;

  /// Asks the cache for the root, before a batch of look-ups.
  void prefetch() const { __builtin_prefetch(root_.load(std::memory_order_acquire)); }

  // The writer.

  /// The routes of exactly this prefix, or null.
  const PrefixRoutes* exact(const wire::Prefix& prefix) const;
  /// Sets the routes of a prefix; null removes it.
  void set(const wire::Prefix& prefix, std::unique_ptr<const PrefixRoutes> routes);
  /// Every prefix's routes, in no particular order.
  template <typename Visit>
  void for_each(Visit&& visit) const {
    if (const PrefixRoutes* all = everything_.load(std::memory_order_acquire)) visit(*all);
    for_each_below(root_.load(std::memory_order_acquire), visit);
  }
  std::size_t prefix_count() const { return prefix_count_; }

 private:
  struct Node;
  struct Draft;

  struct Slot {
    std::atomic<Node*> child;
    std::uint16_t item;  // Index + 1 of the longest prefix of this node here; zero: none.
  };
  struct Item {
    const PrefixRoutes* routes;
    std::uint16_t covering;  // Index + 1 of the next shorter prefix of this node; zero: none.
    std::uint8_t bits;       // The prefix's value in this byte.
    std::uint8_t length;     // Its bits in this byte, 1 to 8.
  };
  /// Followed in memory by its slots, then its items.
  struct Node {
    std::array<std::uint64_t, 4> starts;  // Bit b: a run begins at byte value b.
    std::array<std::uint8_t, 16> prefix;  // The first `depth` bytes that lead here.
    std::uint8_t depth;                   // Which byte of the address branches here.
    std::uint16_t slot_count;
    std::uint16_t item_count;

    Slot* slots() { return reinterpret_cast<Slot*>(this + 1); }
    const Slot* slots() const { return reinterpret_cast<const Slot*>(this + 1); }
    Item* items() { return reinterpret_cast<Item*>(slots() + slot_count); }
    const Item* items() const { return reinterpret_cast<const Item*>(slots() + slot_count); }
    std::size_t rank(std::uint8_t byte) const {
      const std::size_t word = byte / 64;
      std::size_t count = 0;
      for (std::size_t i = 0; i < word; ++i) count += std::popcount(starts[i]);
      return count + std::popcount(starts[word] & (~std::uint64_t{0} >> (63 - byte % 64))) - 1;
    }
  };
  static_assert(alignof(Slot) <= alignof(Node) && sizeof(Node) % alignof(Slot) == 0);

  /// Whether the first `count` bytes, at most 15, of two addresses are the same.
  static bool begin_alike(const std::uint8_t* a, const std::uint8_t* b, unsigned count) {
    std::uint64_t difference = load<std::uint64_t>(a) ^ load<std::uint64_t>(b);
    if (count >= 8) {
      if (difference != 0) return false;
      difference = load<std::uint64_t>(a + 8) ^ load<std::uint64_t>(b + 8);
      count -= 8;
    }
    // In memory order the first byte is the lowest.
    return (difference & ((std::uint64_t{1} << 8 * count) - 1)) == 0;
  }

  static Node* build(const Draft& draft);
  static Draft draft_of(const Node& node);
  static void release_node(const void* node);
  static void destroy(Node* node);

  void replace(std::atomic<Node*>& link, Node* old_node, Node* new_node);
  void insert(const wire::Prefix& prefix, const PrefixRoutes* routes);
  void erase(const wire::Prefix& prefix);
  /// A node without prefixes gives way to its only child, or to nothing.
  Node* simplest(const Draft& draft);

  template <typename Visit>
  static void for_each_below(const Node* node, Visit&& visit) {
    if (node == nullptr) return;
    for (std::size_t i = 0; i < node->item_count; ++i) visit(*node->items()[i].routes);
    for (std::size_t i = 0; i < node->slot_count; ++i)
      for_each_below(node->slots()[i].child.load(std::memory_order_acquire), visit);
  }

  wire::Family family_;
  Retired& retired_;
  std::atomic<Node*> root_{nullptr};
  std::atomic<const PrefixRoutes*> everything_{nullptr};  // The prefix of length zero.
  std::size_t prefix_count_ = 0;
};

template <typename Visit>
bool PrefixTrie::longest_first(const wire::Address& address, Visit&& visit) const {
  struct Found {
    const Node* node;
    std::uint16_t item;
  };
  std::array<Found, 16> found;
  std::size_t count = 0;

  const Node* node = root_.load(std::memory_order_acquire);
  while (node != nullptr) {
    if (!begin_alike(node->prefix.data(), address.bytes.data(), node->depth)) break;
    const Slot& slot = node->slots()[node->rank(address.bytes[node->depth])];
    if (slot.item != 0) found[count++] = {node, slot.item};
    node = slot.child.load(std::memory_order_acquire);
  }
  while (count > 0) {
    const Found& at = found[--count];
    for (std::uint16_t item = at.item; item != 0; item = at.node->items()[item - 1].covering) {
      if (visit(*at.node->items()[item - 1].routes)) return true;
    }
  }
  const PrefixRoutes* const all = everything_.load(std::memory_order_acquire);
  return all != nullptr && visit(*all);
}

}  // namespace weir::routing
