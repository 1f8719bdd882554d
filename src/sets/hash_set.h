#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "base/bytes.h"
#include "base/siphash.h"
#include "sets/view.h"

namespace weir::sets {

/// An element of a HashSet, by number; zero is none. A number stays valid until the epoch after the
/// element's removal.
using Element = std::uint32_t;

/// A set or map of fixed-length keys that workers read and change while a control thread changes it
/// too. Nobody ever waits for anybody (see hash_set.cc for how).
///
/// Whoever calls anything but the constructor and destructor is inside an epoch (base/epoch.h), so
/// that what it has found stays in memory until it leaves.
///
/// Elements that transactions add or delete carry the generations in which they exist; a reader
/// passes the generation of the ruleset that it runs (View). Elements that packets add exist in all
/// of them.
class HashSet {
 public:
  struct Layout {
    std::uint16_t key_bytes = 0;    // 1..64.
    std::uint16_t value_bytes = 0;  // Aligned to 8; zeroed in a new element.
    bool has_timeout = false;
    std::uint32_t max_elements = 0;  // Zero: as many as there are numbers.
  };

  HashSet(const Layout& layout, const HashKey& key);
  ~HashSet();
  HashSet(const HashSet&) = delete;
  HashSet& operator=(const HashSet&) = delete;

  /// Makes room ahead, so that no insertion up to that number of elements allocates memory.
  void reserve(std::uint32_t elements);

  /// The element with this key (of the layout's length) that the view sees, or zero.
  Element find(Bytes key, const View& view) const;

  /// A new element that nobody sees yet, existing in every generation; zero when the set is full.
  /// `extra_room` elements beyond the layout's maximum are let in (those that an open transaction
  /// is about to delete).
  Element allocate(Bytes key, std::uint32_t extra_room = 0);
  /// Gives back an element that was never linked.
  void discard(Element element);
  /// Publishes an element unless its key is taken: by an element that the view sees, or that an
  /// open transaction has added. Answers with the element that now has the key: `element` itself,
  /// or the one in its way.
  Element link(Element element, const View& view);
  /// Removes an element for good. False when somebody else was faster.
  bool erase(Element element);

  Bytes key(Element element) const { return {node(element) + key_offset_, layout_.key_bytes}; }
  /// The element's value bytes. What is in them is constant once the element is linked, or
  /// synchronised by its owner.
  MutableBytes value(Element element) const {
    return {node(element) + value_offset_, layout_.value_bytes};
  }

  /// Generations: when the element comes to exist and when it ceases to.
  void exist_from(Element element, std::uint32_t generation);
  void exist_until(Element element, std::uint32_t generation);
  /// Whether an open transaction, or nobody, has it deleted at this generation.
  bool exists(Element element, std::uint32_t generation) const;

  /// The timeout that the element was given and the moment when it ends; zero for none. Layouts
  /// without timeouts answer zero.
  Duration timeout(Element element) const;
  Time deadline(Element element) const;
  void set_timeout(Element element, Duration timeout, Time deadline);
  bool is_expired(Element element, Time now) const;

  /// Elements in it, the expired ones that are not collected yet included.
  std::uint32_t count() const { return count_.load(std::memory_order_relaxed); }
  const Layout& layout() const { return layout_; }
  /// Changes the layout's maximum; a dynset gives a set that has none one.
  void set_max_elements(std::uint32_t count) { max_.store(count, std::memory_order_relaxed); }
  std::uint32_t max_elements() const { return max_.load(std::memory_order_relaxed); }

  /// Visits the elements that the view sees, in the order of their hashes: `each(Element) -> bool`,
  /// false to stop. Begins behind `cursor` (zero: at the beginning); answers with the cursor for
  /// the next call, zero at the end. Stops between elements of different hashes only, so that a
  /// dump in steps meets each element that exists throughout exactly once.
  template <typename Each>
  std::uint32_t walk(std::uint32_t cursor, const View& view, Each&& each) const;

  /// Removes expired elements, looking at no more than `budget` elements, from where the last call
  /// stopped. Answers how many it removed. Any thread.
  std::uint32_t expire(Time now, std::uint32_t budget);

  /// Hands over all elements removed since the last call, as a chain; zero when there are none.
  /// Control thread, no transaction open. Once every reader that was inside an epoch at that time
  /// has left it, `recycle` makes them usable again; it calls `forget(Element)` for each of them
  /// before.
  Element detach_removed() { return removed_.exchange(0, std::memory_order_acq_rel); }
  template <typename Forget>
  void recycle(Element removed, Forget&& forget);

  /// Bytes of memory that hold elements and buckets (address space of the last segment included).
  std::size_t memory_bytes() const;

 private:
  using Link = std::atomic<std::uint32_t>;
  static constexpr std::uint32_t kMark = 1u << 31;
  static constexpr std::uint32_t kBucket = 1u << 30;
  static constexpr std::uint32_t kEnd = kBucket;  // Nothing ever points to bucket zero.
  static constexpr std::uint32_t kMaxElements = kBucket - 1;
  static constexpr unsigned kFirstBits =
      4;  // The first segment has 2^4 places, each further one doubles.
  static constexpr unsigned kSegments = 27;

  struct alignas(4) Header {
    Link next;            // Successor, with kMark when this element is removed.
    std::uint32_t order;  // Reversed hash; constant once linked.
    std::atomic<std::uint32_t> added;
    std::atomic<std::uint32_t> removed;
    std::atomic<std::uint32_t> spare;  // Next in the free list or among the removed.
  };
  struct Timing {
    std::atomic<std::int64_t> deadline;
    std::atomic<std::int64_t> timeout;
  };

  static unsigned segment_of(std::uint32_t index);
  static std::uint32_t segment_begin(unsigned segment);
  static std::uint32_t segment_size(unsigned segment);

  std::uint8_t* node(Element element) const;
  Header& header(Element element) const { return *reinterpret_cast<Header*>(node(element)); }
  Timing& timing(Element element) const {
    return *reinterpret_cast<Timing*>(node(element) + kTimingOffset);
  }
  Link& bucket(std::uint32_t number) const;
  bool sees(Element element, const View& view) const;

  std::uint32_t order_of(Bytes key) const;
  Link& entrance(std::uint32_t order) const;
  Link& prepared_entrance(std::uint32_t order);
  void prepare_bucket(std::uint32_t number);
  struct Place {
    Link* link;
    std::uint32_t next;
    Element taken_by;
  };
  Place place(std::uint32_t order, Bytes key, const View* view);
  void retire(Element element);
  void grow_if_crowded();
  void add_bucket_segment(unsigned segment);
  std::uint8_t* add_node_segment(unsigned segment);
  void push_free(Element element);
  Element pop_free();
  std::uint32_t first_behind(std::uint32_t cursor) const;
  static std::uint32_t reversed(std::uint32_t bits);
  std::uint32_t successor(std::uint32_t reference) const;

  static constexpr std::size_t kTimingOffset = 24;

  const Layout layout_;
  const HashKey key_;
  std::uint16_t key_offset_;
  std::uint16_t value_offset_;
  std::uint32_t stride_;

  std::atomic<std::uint32_t> bucket_bits_{kFirstBits};
  std::atomic<std::uint32_t> count_{0};
  std::atomic<std::uint32_t> max_;
  std::atomic<std::uint32_t> used_{1};     // Element numbers handed out; zero is none.
  std::atomic<std::uint64_t> free_{0};     // Tag << 32 | first free element.
  std::atomic<std::uint32_t> removed_{0};  // First of the removed that await an epoch.
  std::atomic<std::uint32_t> expire_cursor_{0};
  std::atomic<bool> is_preparing_{false};
  std::array<std::atomic<std::uint8_t*>, kSegments> nodes_{};
  std::array<std::atomic<Link*>, kSegments> buckets_{};
};

}  // namespace weir::sets

#include "sets/hash_set_inl.h"
