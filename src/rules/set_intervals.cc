#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "rules/set_ranges.h"
#include "sets/interval_index.h"

// An interval is two elements, as nft sends it: its first key, and the first key behind it with
// NFT_SET_ELEM_INTERVAL_END. Both are boundaries of one sorted index. At equal keys the end comes
// first: one interval ends where the next begins. A key lies in an interval when the last boundary
// at or before it is a beginning.
//
// Elements of a plain set are nothing but their keys, so all of them share two RangeElements, and a
// million intervals need no million objects. A transaction's changes are kept beside the newest
// version, as a map from boundary to its new element, or to null where one is deleted; all look-ups
// of the control thread see both together.

namespace weir::rules {
namespace {

using sets::IntervalIndex;

struct Version {
  std::uint32_t generation = 0;
  IntervalIndex index;
  std::vector<RangeElement*> elements;
  const Version* before =
      nullptr;  // Valid for readers that began before this version was published.
};

struct Garbage {
  std::unique_ptr<const Version> version;
  std::vector<std::unique_ptr<RangeElement>> elements;
};

/// A boundary's place: key, then ends before beginnings.
struct Place {
  std::string key;
  bool is_start = false;
  auto operator<=>(const Place&) const = default;
};

std::string text(Bytes key) { return {reinterpret_cast<const char*>(key.data()), key.size()}; }
Bytes bytes(const std::string& key) {
  return {reinterpret_cast<const std::uint8_t*>(key.data()), key.size()};
}

class IntervalStore final : public RangeStore {
 public:
  IntervalStore(const BodyLayout& layout, std::uint16_t key_bytes, bool is_anonymous)
      : key_bytes_(key_bytes),
        is_anonymous_(is_anonymous),
        plain_start_(layout, {}, {}, 0),
        plain_end_(layout, {}, {}, NFT_SET_ELEM_INTERVAL_END),
        newest_(new Version{.index = IntervalIndex(key_bytes, {}), .elements = {}}) {}

  ~IntervalStore() override {
    abort();
    const std::unique_ptr<const Version> last(newest_.load(std::memory_order_relaxed));
    for (RangeElement* element : last->elements) destroy(element);
  }

  const RangeElement* find(Bytes key, const sets::View& view) const override {
    const Version* version = newest_.load(std::memory_order_acquire);
    while (version->generation > view.generation) version = version->before;
    const std::uint32_t at = version->index.floor(key);
    if (at == IntervalIndex::kNone) return nullptr;
    const RangeElement* const element = version->elements[at];
    return element->is_end() || element->is_expired(view.now) ? nullptr : element;
  }

  Added add(std::unique_ptr<RangeElement>& element, Time now) override;
  RangeElement* remove(Bytes key, Bytes key_end, bool is_end, Time now) override;
  std::shared_ptr<const void> prepare(std::uint32_t generation, Time now) override;
  void abort() override {
    for (auto& [place, element] : changes_) {
      if (element) destroy(element);
    }
    for (RangeElement* element : removed_) destroy(element);
    changes_.clear();
    removed_.clear();
  }

  const RangeElement* get(Bytes key, Bytes key_end, bool is_end, Time now,
                          Bytes* own_key) const override;
  std::uint32_t walk(std::uint32_t cursor, Time now, Each each, void* context) const override;
  void walk_staged(Time now, Each each, void* context) const override;
  std::uint32_t count() const override {
    return newest_.load(std::memory_order_relaxed)->index.size();
  }

 private:
  struct Boundary {
    std::string key;
    RangeElement* element;
  };

  const Version& newest() const { return *newest_.load(std::memory_order_relaxed); }
  bool is_shared(const RangeElement* element) const {
    return element == &plain_start_ || element == &plain_end_;
  }
  void destroy(RangeElement* element) {
    if (!is_shared(element)) delete element;
  }
  Place place_of(std::uint32_t boundary) const {
    return {text(newest().index.key(boundary)), !newest().elements[boundary]->is_end()};
  }
  /// What is at exactly this place for the open transaction; null when nothing is.
  RangeElement* at(const Place& place, Time now) const;
  std::optional<Boundary> before(const Place& place, Time now) const;
  std::optional<Boundary> behind(const Place& place, Time now) const;
  std::uint32_t lower_bound(const Place& place) const;
  RangeElement* staged(std::uint32_t boundary, Time now) const;
  RangeElement* shared_for(const RangeElement& element);

  const std::uint16_t key_bytes_;
  const bool is_anonymous_;
  RangeElement plain_start_;
  RangeElement plain_end_;
  std::atomic<const Version*> newest_;

  // The open transaction's: boundaries, and elements that it has both added and removed.
  std::map<Place, RangeElement*> changes_;
  std::vector<RangeElement*> removed_;
};

/// The first boundary of the newest version at or behind the place.
std::uint32_t IntervalStore::lower_bound(const Place& place) const {
  const IntervalIndex& index = newest().index;
  std::uint32_t boundary = index.floor(bytes(place.key)) + 1;
  while (boundary > 0 && place_of(boundary - 1) >= place) --boundary;
  return boundary;
}

/// A boundary of the newest version as the open transaction sees it: null when deleted, replaced or
/// expired.
RangeElement* IntervalStore::staged(std::uint32_t boundary, Time now) const {
  RangeElement* const element = newest().elements[boundary];
  if (element->is_expired(now)) return nullptr;
  // The end of an expired interval is no obstacle either.
  if (element->is_end() && boundary > 0 && newest().elements[boundary - 1]->is_expired(now))
    return nullptr;
  if (!changes_.empty() && changes_.contains(place_of(boundary))) return nullptr;
  return element;
}

RangeElement* IntervalStore::at(const Place& place, Time now) const {
  const auto change = changes_.find(place);
  if (change != changes_.end()) return change->second;
  const std::uint32_t boundary = lower_bound(place);
  if (boundary >= newest().index.size() || place_of(boundary) != place) return nullptr;
  return staged(boundary, now);
}

std::optional<IntervalStore::Boundary> IntervalStore::before(const Place& place, Time now) const {
  std::optional<Place> found;
  RangeElement* element = nullptr;
  for (auto change = changes_.lower_bound(place); change != changes_.begin();) {
    --change;
    if (!change->second) continue;
    found = change->first;
    element = change->second;
    break;
  }
  for (std::uint32_t boundary = lower_bound(place); boundary > 0; --boundary) {
    RangeElement* const candidate = staged(boundary - 1, now);
    if (!candidate) continue;
    Place its = place_of(boundary - 1);
    if (!found || *found < its) {
      found = std::move(its);
      element = candidate;
    }
    break;
  }
  if (!found) return std::nullopt;
  return Boundary{std::move(found->key), element};
}

std::optional<IntervalStore::Boundary> IntervalStore::behind(const Place& place, Time now) const {
  std::optional<Place> found;
  RangeElement* element = nullptr;
  for (auto change = changes_.upper_bound(place); change != changes_.end(); ++change) {
    if (!change->second) continue;
    found = change->first;
    element = change->second;
    break;
  }
  std::uint32_t boundary = lower_bound(place);
  if (boundary < newest().index.size() && place_of(boundary) == place) ++boundary;
  for (; boundary < newest().index.size(); ++boundary) {
    RangeElement* const candidate = staged(boundary, now);
    if (!candidate) continue;
    Place its = place_of(boundary);
    if (!found || its < *found) {
      found = std::move(its);
      element = candidate;
    }
    break;
  }
  if (!found) return std::nullopt;
  return Boundary{std::move(found->key), element};
}

RangeElement* IntervalStore::shared_for(const RangeElement& element) {
  if (element.body.extra() || element.deadline != Time{} || element.timeout != Duration{} ||
      (element.flags & ~NFT_SET_ELEM_INTERVAL_END) ||
      (!element.is_end() && !element.body.is_bare())) {
    return nullptr;
  }
  return element.is_end() ? &plain_end_ : &plain_start_;
}

/// nft_rbtree's rules. An element that is there already exists, whatever lies around it. Two
/// beginnings, or two ends, without the other between them are an overlap.
RangeStore::Added IntervalStore::add(std::unique_ptr<RangeElement>& element, Time now) {
  const bool is_end = element->is_end();
  Place place{text(element->key), !is_end};
  if (RangeElement* const same = at(place, now)) return {Outcome::exists, same};

  // At the same key, an end counts as before and a beginning as behind.
  const auto less = before({place.key, true}, now);
  const auto greater = behind({place.key, false}, now);
  const bool after_start = less && !less->element->is_end();
  const bool after_end = less && less->element->is_end();
  const bool before_end = greater && greater->element->is_end();
  if (!is_end && after_start && !is_anonymous_) return {Outcome::overlaps, less->element};
  if (is_end && after_end) return {Outcome::overlaps, less->element};
  if (is_end && before_end) return {Outcome::overlaps, greater->element};

  RangeElement* added = shared_for(*element);
  if (added) {
    element.reset();
  } else {
    added = element.release();
  }
  changes_[std::move(place)] = added;
  return {Outcome::added, added};
}

RangeElement* IntervalStore::remove(Bytes key, Bytes, bool is_end, Time now) {
  const Place place{text(key), !is_end};
  RangeElement* const found = at(place, now);
  if (!found) return nullptr;
  RangeElement*& change = changes_[place];
  if (change) removed_.push_back(change);
  change = nullptr;
  return found;
}

std::shared_ptr<const void> IntervalStore::prepare(std::uint32_t generation, Time now) {
  if (changes_.empty()) return nullptr;
  const Version& old = newest();
  auto garbage = std::make_shared<Garbage>();
  std::vector<std::uint8_t> keys;
  std::vector<RangeElement*> elements;
  keys.reserve((old.elements.size() + changes_.size()) * key_bytes_);
  elements.reserve(old.elements.size() + changes_.size());
  const auto take = [&](Bytes key, RangeElement* element) {
    keys.insert(keys.end(), key.begin(), key.end());
    elements.push_back(element);
  };

  auto change = changes_.begin();
  bool skips_end = false;  // The interval before has expired, so its end goes too.
  for (std::uint32_t boundary = 0; boundary < old.elements.size(); ++boundary) {
    const Place place = place_of(boundary);
    for (; change != changes_.end() && change->first < place; ++change) {
      if (change->second) take(bytes(change->first.key), change->second);
    }
    RangeElement* const element = old.elements[boundary];
    const bool is_replaced = change != changes_.end() && change->first == place;
    const bool is_expired = element->is_expired(now) || (skips_end && element->is_end());
    skips_end = is_expired && !element->is_end();
    if (is_replaced) {
      if (change->second) take(bytes(place.key), change->second);
      ++change;
    } else if (!is_expired) {
      take(bytes(place.key), element);
    }
    if ((is_replaced || is_expired) && !is_shared(element)) garbage->elements.emplace_back(element);
    if (is_expired && !is_replaced) element->body.release();
  }
  for (; change != changes_.end(); ++change) {
    if (change->second) take(bytes(change->first.key), change->second);
  }
  // Added and removed again by one transaction: never in any version, but its notices may still
  // name it.
  for (RangeElement* element : removed_) {
    if (!is_shared(element)) garbage->elements.emplace_back(element);
  }
  removed_.clear();
  changes_.clear();

  newest_.store(new Version{.generation = generation,
                            .index = IntervalIndex(key_bytes_, std::move(keys)),
                            .elements = std::move(elements),
                            .before = &old},
                std::memory_order_release);
  garbage->version.reset(&old);
  return garbage;
}

/// nft_rbtree_get: the boundary itself, or for a key inside an interval the interval's beginning
/// or, as asked, its end.
const RangeElement* IntervalStore::get(Bytes key, Bytes, bool is_end, Time now,
                                       Bytes* own_key) const {
  const Version& version = newest();
  std::uint32_t at = version.index.floor(key);
  if (is_end) {
    const bool has_equal = at != IntervalIndex::kNone &&
                           std::equal(key.begin(), key.end(), version.index.key(at).begin());
    if (has_equal && !version.elements[at]->is_end() && at > 0 &&
        std::equal(key.begin(), key.end(), version.index.key(at - 1).begin())) {
      --at;
    }
    if (!has_equal || !version.elements[at]->is_end()) ++at;
  }
  if (at == IntervalIndex::kNone || at >= version.index.size()) return nullptr;
  const RangeElement* const element = version.elements[at];
  if (element->is_end() != is_end || element->is_expired(now)) return nullptr;
  *own_key = version.index.key(at);
  return element;
}

/// From the greatest key down, as the kernel's tree is walked.
std::uint32_t IntervalStore::walk(std::uint32_t cursor, Time now, Each each, void* context) const {
  const Version& version = newest();
  const std::uint32_t size = version.index.size();
  for (std::uint32_t i = cursor; i < size; ++i) {
    const std::uint32_t boundary = size - 1 - i;
    const RangeElement& element = *version.elements[boundary];
    if (element.is_expired(now)) continue;
    if (element.is_end() && boundary > 0 && version.elements[boundary - 1]->is_expired(now))
      continue;
    const ElementView view{.key = version.index.key(boundary),
                           .key_end = {},
                           .flags = element.flags,
                           .timeout = element.timeout,
                           .deadline = element.deadline,
                           .body = element.body};
    if (!each(context, view)) return i + 1 < size ? i + 1 : 0;
  }
  return 0;
}

void IntervalStore::walk_staged(Time now, Each each, void* context) const {
  const auto show = [&](Bytes key, const RangeElement& element) {
    each(context, {.key = key,
                   .key_end = {},
                   .flags = element.flags,
                   .timeout = element.timeout,
                   .deadline = element.deadline,
                   .body = element.body});
  };
  for (std::uint32_t boundary = 0; boundary < newest().index.size(); ++boundary) {
    if (const RangeElement* const element = staged(boundary, now))
      show(newest().index.key(boundary), *element);
  }
  for (const auto& [place, element] : changes_) {
    if (element) show(bytes(place.key), *element);
  }
}

}  // namespace

std::unique_ptr<RangeStore> make_interval_store(const BodyLayout& layout, std::uint16_t key_bytes,
                                                bool is_anonymous) {
  return std::make_unique<IntervalStore>(layout, key_bytes, is_anonymous);
}

}  // namespace weir::rules
