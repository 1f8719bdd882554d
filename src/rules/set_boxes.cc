#include <algorithm>
#include <atomic>
#include <unordered_set>
#include <utility>
#include <vector>

#include "rules/set_ranges.h"
#include "sets/box_index.h"

// A concatenation with ranges: every element is a box, from its key to its key end. Versions hold a
// BoxIndex over all elements in the order of their insertion (of several boxes that contain a key,
// the first counts); the open transaction's additions lie in a BoxForest beside it.

namespace weir::rules {
namespace {

using sets::BoxIndex;

struct Version {
  std::uint32_t generation = 0;
  BoxIndex index;
  std::vector<RangeElement*> elements;
  const Version* before =
      nullptr;  // Valid for readers that began before this version was published.
};

struct Garbage {
  std::unique_ptr<const Version> version;
  std::vector<std::unique_ptr<RangeElement>> elements;
};

bool is_same(const RangeElement& element, Bytes low, Bytes high) {
  return std::ranges::equal(element.key, low) &&
         std::ranges::equal(element.key_end.empty() ? Bytes(element.key) : Bytes(element.key_end),
                            high);
}

Bytes high_of(const RangeElement& element) {
  return element.key_end.empty() ? element.key : element.key_end;
}

class BoxStore final : public RangeStore {
 public:
  explicit BoxStore(const sets::Fields& fields)
      : fields_(fields),
        newest_(new Version{.index = BoxIndex(fields, {}, {}), .elements = {}}),
        forest_(fields) {}

  ~BoxStore() override {
    abort();
    const std::unique_ptr<const Version> last(newest_.load(std::memory_order_relaxed));
    for (RangeElement* element : last->elements) delete element;
  }

  const RangeElement* find(Bytes key, const sets::View& view) const override {
    const Version* version = newest_.load(std::memory_order_acquire);
    while (version->generation > view.generation) version = version->before;
    const std::uint32_t at = version->index.find(key, [&](std::uint32_t number) {
      return !version->elements[number]->is_expired(view.now);
    });
    return at == BoxIndex::kNone ? nullptr : version->elements[at];
  }

  Added add(std::unique_ptr<RangeElement>& element, Time now) override {
    // nft_pipapo_insert: another element may hold neither the first nor the last key of the new
    // one.
    const Bytes high = high_of(*element);
    if (RangeElement* const other = staged_at(element->key, now)) {
      return {is_same(*other, element->key, high) ? Outcome::exists : Outcome::overlaps, other};
    }
    if (RangeElement* const other = staged_at(high, now)) return {Outcome::overlaps, other};
    forest_.insert(element->key, high);
    added_.push_back(element.release());
    return {Outcome::added, added_.back()};
  }

  RangeElement* remove(Bytes key, Bytes key_end, bool, Time now) override {
    RangeElement* const found = staged_at(key, now);
    if (!found || !is_same(*found, key, key_end.empty() ? key : key_end)) return nullptr;
    removed_.insert(found);
    return found;
  }

  std::shared_ptr<const void> prepare(std::uint32_t generation, Time now) override;

  void abort() override {
    for (RangeElement* element : added_) delete element;
    forget();
  }

  const RangeElement* get(Bytes key, Bytes, bool, Time now, Bytes* own_key) const override {
    const RangeElement* const found = find(key, {.now = now, .generation = UINT32_MAX});
    if (found) *own_key = found->key;
    return found;
  }

  std::uint32_t walk(std::uint32_t cursor, Time now, Each each, void* context) const override {
    const auto& elements = newest_.load(std::memory_order_relaxed)->elements;
    for (std::uint32_t i = cursor; i < elements.size(); ++i) {
      if (elements[i]->is_expired(now)) continue;
      if (!each(context, view_of(*elements[i]))) return i + 1 < elements.size() ? i + 1 : 0;
    }
    return 0;
  }

  void walk_staged(Time now, Each each, void* context) const override {
    const auto show = [&](const RangeElement* element) {
      if (!removed_.contains(element) && !element->is_expired(now))
        each(context, view_of(*element));
    };
    for (const RangeElement* element : newest_.load(std::memory_order_relaxed)->elements)
      show(element);
    for (const RangeElement* element : added_) show(element);
  }

  std::uint32_t count() const override {
    return static_cast<std::uint32_t>(newest_.load(std::memory_order_relaxed)->elements.size());
  }

 private:
  static ElementView view_of(const RangeElement& element) {
    return {.key = element.key,
            .key_end = element.key_end,
            .flags = element.flags,
            .timeout = element.timeout,
            .deadline = element.deadline,
            .body = element.body};
  }

  /// The element that a key falls into for the open transaction.
  RangeElement* staged_at(Bytes key, Time now) const {
    const auto stays = [&](const RangeElement* element) {
      return !element->is_expired(now) && !removed_.contains(element);
    };
    const Version& version = *newest_.load(std::memory_order_relaxed);
    const std::uint32_t old =
        version.index.find(key, [&](std::uint32_t n) { return stays(version.elements[n]); });
    if (old != BoxIndex::kNone) return version.elements[old];
    const std::uint32_t fresh =
        forest_.find(key, [&](std::uint32_t n) { return stays(added_[n]); });
    return fresh == BoxIndex::kNone ? nullptr : added_[fresh];
  }

  void forget() {
    added_.clear();
    removed_.clear();
    forest_ = sets::BoxForest(fields_);
  }

  const sets::Fields fields_;
  std::atomic<const Version*> newest_;

  // The open transaction's.
  sets::BoxForest forest_;
  std::vector<RangeElement*> added_;  // By their numbers in the forest.
  std::unordered_set<const RangeElement*> removed_;
};

std::shared_ptr<const void> BoxStore::prepare(std::uint32_t generation, Time now) {
  if (added_.empty() && removed_.empty()) return nullptr;
  const Version& old = *newest_.load(std::memory_order_relaxed);
  auto garbage = std::make_shared<Garbage>();
  std::vector<std::uint8_t> lows;
  std::vector<std::uint8_t> highs;
  std::vector<RangeElement*> elements;
  const auto take = [&](RangeElement* element) {
    const bool is_removed = removed_.contains(element);
    if (is_removed || element->is_expired(now)) {
      if (!is_removed) element->body.release();
      garbage->elements.emplace_back(element);
      return;
    }
    const Bytes high = high_of(*element);
    lows.insert(lows.end(), element->key.begin(), element->key.end());
    highs.insert(highs.end(), high.begin(), high.end());
    elements.push_back(element);
  };
  for (RangeElement* element : old.elements) take(element);
  for (RangeElement* element : added_) take(element);
  forget();

  newest_.store(new Version{.generation = generation,
                            .index = BoxIndex(fields_, lows, highs),
                            .elements = std::move(elements),
                            .before = &old},
                std::memory_order_release);
  garbage->version.reset(&old);
  return garbage;
}

}  // namespace

std::unique_ptr<RangeStore> make_box_store(const sets::Fields& fields) {
  return std::make_unique<BoxStore>(fields);
}

}  // namespace weir::rules
