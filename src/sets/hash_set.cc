#include "sets/hash_set.h"

#include <bit>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <new>

// Problem: packets look elements up, add and delete them (dynset) while a control thread loads and
// deletes, and the set grows from ten elements to a million. A lock would let a preempted thread
// stall the others; a table that is rehashed stalls everybody.
//
// Idea: a split-ordered list (Shalev and Shavit, 2006). All elements hang in one linked list,
// ordered by their bit-reversed hash. A bucket is a place of its own in that list, and the table of
// buckets holds short cuts to them. When the table doubles, bucket b splits in two by adding one
// more place in the middle of its stretch; no element moves, so no reader can miss one. New buckets
// are entered into the list when a writer first needs them; until then look-ups start at their
// nearest ancestor.
//
// References are 32 bits: an element's number, or kBucket | a bucket's number. Elements and
// buckets lie in segments that double in size, so they never move either. A bucket is nothing but
// its link: its order follows from its number. A fresh table is all zeroes, and a zero link says
// that the bucket isn't in the list yet.
//
// Insertion is a compare-and-swap of the predecessor's link, always at the end of the run of
// elements of equal order: two threads that add the same key meet at the same link, and the loser
// looks again. Removal marks the element's own link (Harris, 2001), which makes every later change
// of that link fail; whoever passes by next unlinks it, and the one whose swap succeeded puts it
// among the removed. Its memory is used again only after the epoch, so a reader that stands on it
// can go on.
//
// A bucket under preparation carries kMark in its link as long as it may not be in the list. Only
// one thread prepares at a time; others don't wait for it but start further ahead. A writer that
// meets the mark on a bucket that it has come to through the list knows that it is in it, and
// clears the mark.

namespace weir::sets {
namespace {

constexpr std::size_t align_up(std::size_t bytes, std::size_t to) {
  return (bytes + to - 1) / to * to;
}

void* zeroed(std::size_t bytes) {
  void* const memory = std::calloc(1, bytes);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

HashSet::HashSet(const Layout& layout, const HashKey& key)
    : layout_(layout), key_(key), max_(layout.max_elements) {
  assert(layout.key_bytes > 0 && layout.key_bytes <= 64);
  key_offset_ = layout.has_timeout ? kTimingOffset + sizeof(Timing) : sizeof(Header);
  const std::size_t end_of_key = key_offset_ + layout.key_bytes;
  value_offset_ =
      static_cast<std::uint16_t>(layout.value_bytes ? align_up(end_of_key, 8) : end_of_key);
  const std::size_t alignment = layout.value_bytes || layout.has_timeout ? 8 : 4;
  stride_ = static_cast<std::uint32_t>(align_up(value_offset_ + layout.value_bytes, alignment));
  add_bucket_segment(0);
  bucket(0).store(kEnd, std::memory_order_relaxed);
}

HashSet::~HashSet() {
  for (auto& segment : nodes_) std::free(segment.load(std::memory_order_relaxed));
  for (auto& segment : buckets_) std::free(segment.load(std::memory_order_relaxed));
}

// --- Segments: the first holds 2^kFirstBits places, segment s as many as all before it together.

unsigned HashSet::segment_of(std::uint32_t index) {
  const unsigned width = static_cast<unsigned>(std::bit_width(index >> kFirstBits));
  return width;
}

std::uint32_t HashSet::segment_begin(unsigned segment) {
  return segment == 0 ? 0 : 1u << (kFirstBits + segment - 1);
}

std::uint32_t HashSet::segment_size(unsigned segment) {
  return segment == 0 ? 1u << kFirstBits : 1u << (kFirstBits + segment - 1);
}

std::uint8_t* HashSet::node(Element element) const {
  const unsigned segment = segment_of(element);
  return nodes_[segment].load(std::memory_order_acquire) +
         std::size_t{element - segment_begin(segment)} * stride_;
}

HashSet::Link& HashSet::bucket(std::uint32_t number) const {
  const unsigned segment = segment_of(number);
  return buckets_[segment].load(std::memory_order_acquire)[number - segment_begin(segment)];
}

void HashSet::add_bucket_segment(unsigned segment) {
  if (buckets_[segment].load(std::memory_order_acquire) != nullptr) return;
  auto* const fresh = static_cast<Link*>(zeroed(sizeof(Link) * segment_size(segment)));
  Link* expected = nullptr;
  if (!buckets_[segment].compare_exchange_strong(expected, fresh, std::memory_order_acq_rel)) {
    std::free(fresh);
  }
}

std::uint8_t* HashSet::add_node_segment(unsigned segment) {
  std::uint8_t* there = nodes_[segment].load(std::memory_order_acquire);
  if (there != nullptr) return there;
  auto* const fresh =
      static_cast<std::uint8_t*>(zeroed(std::size_t{segment_size(segment)} * stride_));
  if (nodes_[segment].compare_exchange_strong(there, fresh, std::memory_order_acq_rel))
    return fresh;
  std::free(fresh);
  return there;
}

void HashSet::reserve(std::uint32_t elements) {
  if (elements == 0) return;
  for (unsigned s = 0; s <= segment_of(elements); ++s) add_node_segment(s);
  const auto bits = static_cast<std::uint32_t>(std::bit_width(elements - 1));
  if (bits <= bucket_bits_.load(std::memory_order_relaxed)) return;
  for (unsigned s = 0; s <= bits - kFirstBits; ++s) add_bucket_segment(s);
  bucket_bits_.store(bits, std::memory_order_release);
}

std::size_t HashSet::memory_bytes() const {
  std::size_t bytes = 0;
  for (unsigned s = 0; s < kSegments; ++s) {
    if (nodes_[s].load(std::memory_order_relaxed)) bytes += std::size_t{segment_size(s)} * stride_;
    if (buckets_[s].load(std::memory_order_relaxed)) bytes += sizeof(Link) * segment_size(s);
  }
  return bytes;
}

// --- Orders and entrances.

std::uint32_t HashSet::reversed(std::uint32_t bits) {
  bits = __builtin_bswap32(bits);
  bits = (bits >> 4 & 0x0f0f0f0f) | (bits & 0x0f0f0f0f) << 4;
  bits = (bits >> 2 & 0x33333333) | (bits & 0x33333333) << 2;
  return (bits >> 1 & 0x55555555) | (bits & 0x55555555) << 1;
}

/// Elements have odd orders, so that a bucket comes before all of its elements.
std::uint32_t HashSet::order_of(Bytes key) const {
  SipHash13<1> hash(key_);
  std::size_t at = 0;
  for (; at + 8 <= key.size(); at += 8) hash.add({load<std::uint64_t>(&key[at])});
  if (at < key.size()) {
    std::uint64_t rest = 0;
    std::memcpy(&rest, &key[at], key.size() - at);
    hash.add({rest});
    at += 8;
  }
  return reversed(static_cast<std::uint32_t>(hash.finish(at)[0])) | 1;
}

/// The nearest place in the list, at or before `order`, that is ready to start from.
HashSet::Link& HashSet::entrance(std::uint32_t order) const {
  const std::uint32_t mask = (1u << bucket_bits_.load(std::memory_order_acquire)) - 1;
  std::uint32_t number = reversed(order) & mask;
  for (;;) {
    Link& link = bucket(number);
    const std::uint32_t next = link.load(std::memory_order_acquire);
    if (number == 0 || (next != 0 && !(next & kMark))) return link;
    number &= ~std::bit_floor(number);
  }
}

HashSet::Link& HashSet::prepared_entrance(std::uint32_t order) {
  const std::uint32_t mask = (1u << bucket_bits_.load(std::memory_order_acquire)) - 1;
  const std::uint32_t number = reversed(order) & mask;
  if (bucket(number).load(std::memory_order_acquire) == 0 &&
      !is_preparing_.exchange(true, std::memory_order_acquire)) {
    prepare_bucket(number);
    is_preparing_.store(false, std::memory_order_release);
  }
  return entrance(order);
}

/// Enters a bucket, and before it its ancestors, into the list. Only one thread is here at a time.
void HashSet::prepare_bucket(std::uint32_t number) {
  Link& link = bucket(number);
  if (number == 0 || link.load(std::memory_order_acquire) != 0) return;
  prepare_bucket(number & ~std::bit_floor(number));

  for (;;) {
    const Place at = place(reversed(number), {}, nullptr);
    link.store(at.next | kMark, std::memory_order_relaxed);
    std::uint32_t expected = at.next;
    if (at.link->compare_exchange_strong(expected, kBucket | number, std::memory_order_acq_rel))
      break;
  }
  link.fetch_and(~kMark, std::memory_order_acq_rel);
}

// --- The list.

std::uint32_t HashSet::successor(std::uint32_t reference) const {
  const Link& link = reference & kBucket ? bucket(reference & ~kBucket) : header(reference).next;
  return link.load(std::memory_order_acquire) & ~kMark;
}

bool HashSet::exists(Element element, std::uint32_t generation) const {
  const Header& it = header(element);
  return it.added.load(std::memory_order_acquire) <= generation &&
         generation < it.removed.load(std::memory_order_acquire);
}

bool HashSet::sees(Element element, const View& view) const {
  return exists(element, view.generation) && !is_expired(element, view.now) &&
         !(header(element).next.load(std::memory_order_acquire) & kMark);
}

Element HashSet::find(Bytes key, const View& view) const {
  const std::uint32_t order = order_of(key);
  std::uint32_t at = entrance(order).load(std::memory_order_acquire) & ~kMark;
  while (at != kEnd) {
    if (at & kBucket) {
      if (reversed(at & ~kBucket) > order) return 0;
      at = bucket(at & ~kBucket).load(std::memory_order_acquire) & ~kMark;
      continue;
    }
    const std::uint8_t* const element = node(at);
    const auto& head = *reinterpret_cast<const Header*>(element);
    if (head.order > order) return 0;
    if (head.order == order &&
        std::memcmp(element + key_offset_, key.data(), layout_.key_bytes) == 0 && sees(at, view)) {
      return at;
    }
    at = head.next.load(std::memory_order_acquire) & ~kMark;
  }
  return 0;
}

/// Where in the list something of that order belongs: behind all of its order. Unlinks removed
/// elements on its way. With a view, looks for an element that has this key as well.
HashSet::Place HashSet::place(std::uint32_t order, Bytes key, const View* view) {
  for (;;) {
    Link* link = &entrance(order);
    std::uint32_t at = link->load(std::memory_order_acquire);
    bool again = false;
    while (at != kEnd) {
      if (at & kBucket) {
        if (reversed(at & ~kBucket) > order) break;
        link = &bucket(at & ~kBucket);
        at = link->load(std::memory_order_acquire);
        if (at & kMark) at = link->fetch_and(~kMark, std::memory_order_acq_rel) & ~kMark;
        continue;
      }
      Header& element = header(at);
      const std::uint32_t next = element.next.load(std::memory_order_acquire);
      if (next & kMark) {
        std::uint32_t expected = at;
        if (!link->compare_exchange_strong(expected, next & ~kMark, std::memory_order_acq_rel)) {
          again = true;
          break;
        }
        retire(at);
        at = next & ~kMark;
        continue;
      }
      if (element.order > order) break;
      if (view != nullptr && element.order == order &&
          std::memcmp(node(at) + key_offset_, key.data(), layout_.key_bytes) == 0 &&
          view->generation < element.removed.load(std::memory_order_acquire) &&
          !is_expired(at, view->now)) {
        return {.link = link, .next = at, .taken_by = at};
      }
      link = &element.next;
      at = next;
    }
    if (!again) return {.link = link, .next = at, .taken_by = 0};
  }
}

Element HashSet::link(Element element, const View& view) {
  Header& head = header(element);
  const Bytes own_key = key(element);
  prepared_entrance(head.order);
  for (;;) {
    const Place at = place(head.order, own_key, &view);
    if (at.taken_by != 0) return at.taken_by;
    head.next.store(at.next, std::memory_order_relaxed);
    std::uint32_t expected = at.next;
    if (at.link->compare_exchange_strong(expected, element, std::memory_order_acq_rel)) break;
  }
  grow_if_crowded();
  return element;
}

bool HashSet::erase(Element element) {
  Header& head = header(element);
  if (head.next.fetch_or(kMark, std::memory_order_acq_rel) & kMark) return false;
  place(head.order, {}, nullptr);
  return true;
}

void HashSet::grow_if_crowded() {
  std::uint32_t bits = bucket_bits_.load(std::memory_order_acquire);
  if (count() <= 1u << bits || bits + 1 >= kFirstBits + kSegments - 1) return;
  add_bucket_segment(bits + 1 - kFirstBits);
  bucket_bits_.compare_exchange_strong(bits, bits + 1, std::memory_order_acq_rel);
}

// --- Elements.

Element HashSet::allocate(Bytes key, std::uint32_t extra_room) {
  const std::uint32_t limit = max_elements();
  const std::uint64_t most = limit ? std::uint64_t{limit} + extra_room : kMaxElements;
  std::uint32_t count = count_.load(std::memory_order_relaxed);
  do {
    if (count >= most) return 0;
  } while (!count_.compare_exchange_weak(count, count + 1, std::memory_order_relaxed));

  Element element = pop_free();
  if (element == 0) {
    if (used_.load(std::memory_order_relaxed) >= kMaxElements) {
      count_.fetch_sub(1, std::memory_order_relaxed);
      return 0;
    }
    element = used_.fetch_add(1, std::memory_order_relaxed);
    add_node_segment(segment_of(element));
  }
  Header& head = header(element);
  head.order = order_of(key);
  head.added.store(kAlways, std::memory_order_relaxed);
  head.removed.store(kNever, std::memory_order_relaxed);
  if (layout_.has_timeout) set_timeout(element, {}, {});
  std::memcpy(node(element) + key_offset_, key.data(), layout_.key_bytes);
  if (layout_.value_bytes) std::memset(node(element) + value_offset_, 0, layout_.value_bytes);
  return element;
}

void HashSet::discard(Element element) {
  count_.fetch_sub(1, std::memory_order_relaxed);
  push_free(element);
}

void HashSet::retire(Element element) {
  count_.fetch_sub(1, std::memory_order_relaxed);
  std::uint32_t first = removed_.load(std::memory_order_relaxed);
  do {
    header(element).spare.store(first, std::memory_order_relaxed);
  } while (!removed_.compare_exchange_weak(first, element, std::memory_order_acq_rel));
}

void HashSet::push_free(Element element) {
  std::uint64_t top = free_.load(std::memory_order_relaxed);
  std::uint64_t fresh;
  do {
    header(element).spare.store(static_cast<std::uint32_t>(top), std::memory_order_relaxed);
    fresh = ((top >> 32) + 1) << 32 | element;
  } while (!free_.compare_exchange_weak(top, fresh, std::memory_order_acq_rel));
}

Element HashSet::pop_free() {
  std::uint64_t top = free_.load(std::memory_order_acquire);
  for (;;) {
    const auto element = static_cast<Element>(top);
    if (element == 0) return 0;
    const std::uint32_t next = header(element).spare.load(std::memory_order_relaxed);
    const std::uint64_t fresh = ((top >> 32) + 1) << 32 | next;
    if (free_.compare_exchange_weak(top, fresh, std::memory_order_acq_rel)) return element;
  }
}

void HashSet::exist_from(Element element, std::uint32_t generation) {
  header(element).added.store(generation, std::memory_order_release);
}

void HashSet::exist_until(Element element, std::uint32_t generation) {
  header(element).removed.store(generation, std::memory_order_release);
}

// --- Time.

Duration HashSet::timeout(Element element) const {
  return layout_.has_timeout ? Duration(timing(element).timeout.load(std::memory_order_relaxed))
                             : Duration{};
}

Time HashSet::deadline(Element element) const {
  return layout_.has_timeout
             ? Time(Duration(timing(element).deadline.load(std::memory_order_relaxed)))
             : Time{};
}

void HashSet::set_timeout(Element element, Duration timeout, Time deadline) {
  timing(element).timeout.store(timeout.count(), std::memory_order_relaxed);
  timing(element).deadline.store(deadline.time_since_epoch().count(), std::memory_order_relaxed);
}

bool HashSet::is_expired(Element element, Time now) const {
  if (!layout_.has_timeout) return false;
  const Time end = deadline(element);
  return end != Time{} && end <= now;
}

std::uint32_t HashSet::first_behind(std::uint32_t cursor) const {
  std::uint32_t at =
      (cursor == 0 ? bucket(0) : entrance(cursor)).load(std::memory_order_acquire) & ~kMark;
  while (at != kEnd && ((at & kBucket) ? reversed(at & ~kBucket) : header(at).order) <= cursor) {
    at = successor(at);
  }
  return at;
}

std::uint32_t HashSet::expire(Time now, std::uint32_t budget) {
  if (!layout_.has_timeout) return 0;
  std::uint32_t removed = 0;
  std::uint32_t cursor = expire_cursor_.load(std::memory_order_relaxed);
  std::uint32_t at = first_behind(cursor);
  for (; at != kEnd && budget > 0; --budget) {
    const std::uint32_t next = successor(at);
    if (!(at & kBucket)) {
      cursor = header(at).order;
      if (is_expired(at, now) && erase(at)) ++removed;
    }
    at = next;
  }
  expire_cursor_.store(at == kEnd ? 0 : cursor, std::memory_order_relaxed);
  return removed;
}

}  // namespace weir::sets
