#include "rules/set.h"

#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <utility>

#include "base/random.h"

namespace weir::rules {
namespace {

constexpr std::uint32_t kDefaultDynamicSize = 0xffff;  // As nft_dynset_init.
constexpr std::uint32_t kReserveAtMost = 1u << 16;
constexpr std::uint32_t kExpireAtOnce = 4096;
constexpr std::uint32_t kLastGeneration = sets::kNever - 1;

std::uint16_t states_of(const SetDescription& description, std::size_t expressions) {
  if (expressions > 0) return static_cast<std::uint16_t>(expressions);
  // What its dynsets will bring isn't known yet.
  return description.flags & NFT_SET_EVAL ? kSetExpressionsMax : 0;
}

}  // namespace

Set::Set(SetDescription description, std::vector<std::unique_ptr<StatefulExpression>> expressions)
    : description_(std::move(description)),
      expressions_(std::move(expressions)),
      layout_(
          BodyLayout::make(description_.data_type == NFT_DATA_VERDICT ? 0 : description_.data_bytes,
                           has(NFT_SET_MAP) && description_.data_type == NFT_DATA_VERDICT,
                           has(NFT_SET_OBJECT), states_of(description_, expressions_.size()))) {
  if (!has(NFT_SET_INTERVAL)) {
    hash_ =
        std::make_unique<sets::HashSet>(sets::HashSet::Layout{.key_bytes = description_.key_bytes,
                                                              .value_bytes = layout_.bytes,
                                                              .has_timeout = has(NFT_SET_TIMEOUT),
                                                              .max_elements = description_.size},
                                        random_key());
    if (has(NFT_SET_EVAL)) hash_->reserve(std::min(description_.size, kReserveAtMost));
  } else if (description_.fields.count > 1) {
    ranges_ = make_box_store(description_.fields);
  } else {
    ranges_ = make_interval_store(layout_, description_.key_bytes, is_anonymous());
  }
}

Set::~Set() {
  if (hash_) {
    hash_->recycle(hash_->detach_removed(), [this](sets::Element element) { forget(element); });
    const sets::View all{.now = {}, .generation = kLastGeneration};
    hash_->walk(0, all, [this](sets::Element element) {
      body(element).destroy();
      return true;
    });
  }
  for (RangeElement* at = catch_all_.load(std::memory_order_relaxed); at != nullptr;) {
    RangeElement* const next = at->next.load(std::memory_order_relaxed);
    delete at;
    at = next;
  }
}

bool Set::is_map() const { return has(NFT_SET_MAP); }
bool Set::is_anonymous() const { return has(NFT_SET_ANONYMOUS); }

const RangeElement* Set::find_catch_all_element(const sets::View& view) const {
  for (const RangeElement* at = catch_all_.load(std::memory_order_acquire); at != nullptr;
       at = at->next.load(std::memory_order_acquire)) {
    if (at->added.load(std::memory_order_acquire) <= view.generation &&
        view.generation < at->removed.load(std::memory_order_acquire) &&
        !at->is_expired(view.now)) {
      return at;
    }
  }
  return nullptr;
}

Body Set::find_catch_all(const sets::View& view) const {
  const RangeElement* const found = find_catch_all_element(view);
  return found ? found->body : Body();
}

Body Set::find_or_add(const std::uint8_t* key, const Fresh& fresh, bool extends,
                      const sets::View& view) {
  const Bytes bytes(key, description_.key_bytes);
  const Duration timeout = fresh.timeout != Duration{} ? fresh.timeout : description_.timeout;
  sets::Element element = hash_->find(bytes, view);
  if (element == 0) {
    const sets::Element made = hash_->allocate(bytes);
    if (made == 0) {
      // Full, perhaps of expired elements: look at a few, for the next packet's sake.
      hash_->expire(view.now, 16);
      return {};
    }
    Body its = body(made);
    if (!fresh.value.empty()) its.set_value(fresh.value);
    its.set_states(fresh.states);
    if (timeout != Duration{}) hash_->set_timeout(made, timeout, view.now + timeout);
    element = hash_->link(made, view);
    if (element == made) return its;
    hash_->discard(made);
  }
  if (extends && timeout != Duration{} && hash_->deadline(element) != Time{}) {
    hash_->set_timeout(element, hash_->timeout(element), view.now + timeout);
  }
  return body(element);
}

void Set::erase(const std::uint8_t* key, const sets::View& view) {
  const sets::Element found = hash_->find({key, description_.key_bytes}, view);
  if (found) hash_->erase(found);
}

std::uint32_t Set::count() const { return hash_ ? hash_->count() : ranges_->count(); }

std::uint32_t Set::told_count() const {
  const bool is_of_intervals = ranges_ && description_.fields.count <= 1;
  return is_of_intervals ? count() / 2 : count();
}

std::uint32_t Set::ranges_at_most() const {
  const std::uint32_t size = description_.size;
  if (size == 0 || description_.fields.count > 1) return size;
  return size > UINT32_MAX / 4 ? 0 : 2 * size + 1;
}

std::optional<ElementView> Set::get(Bytes key, Bytes key_end, std::uint32_t flags,
                                    const sets::View& view) const {
  if (hash_ && !(flags & NFT_SET_ELEM_CATCHALL)) {
    const sets::Element found = hash_->find(key, view);
    if (found == 0) return std::nullopt;
    return view_of(found);
  }
  Bytes own_key;
  const RangeElement* const found =
      flags & NFT_SET_ELEM_CATCHALL
          ? find_catch_all_element(view)
          : ranges_->get(key, key_end, flags & NFT_SET_ELEM_INTERVAL_END, view.now, &own_key);
  if (!found) return std::nullopt;
  return view_of(own_key, *found);
}

ElementView Set::view_of(Bytes key, const RangeElement& element) {
  return {.key = key,
          .key_end = element.key_end,
          .flags = element.flags,
          .timeout = element.timeout,
          .deadline = element.deadline,
          .body = element.body};
}

void Set::limit_size() {
  if (description_.size != 0 || !hash_) return;
  description_.size = kDefaultDynamicSize;
  hash_->set_max_elements(kDefaultDynamicSize);
  hash_->reserve(kDefaultDynamicSize);
}

ElementView Set::view_of(sets::Element element) const {
  return {.key = hash_->key(element),
          .key_end = {},
          .flags = 0,
          .timeout = hash_->timeout(element),
          .deadline = hash_->deadline(element),
          .body = body(element)};
}

std::uint64_t Set::walk(std::uint64_t cursor, const sets::View& view, RangeStore::Each each,
                        void* context) const {
  constexpr std::uint64_t kCatchAll = 1ull << 32;
  if (cursor < kCatchAll) {
    const auto from = static_cast<std::uint32_t>(cursor);
    bool stopped = false;
    std::uint32_t next;
    if (hash_) {
      next = hash_->walk(from, view, [&](sets::Element element) {
        stopped = !each(context, view_of(element));
        return !stopped;
      });
    } else {
      const auto note = [&](const ElementView& element) {
        stopped = !each(context, element);
        return !stopped;
      };
      next = ranges_->walk(
          from, view.now,
          [](void* it, const ElementView& element) {
            return (*static_cast<decltype(note)*>(it))(element);
          },
          const_cast<void*>(static_cast<const void*>(&note)));
    }
    if (next != 0) return next;
    if (stopped && catch_all_.load(std::memory_order_relaxed)) return kCatchAll;
    if (stopped) return 0;
  }
  if (const RangeElement* const found = find_catch_all_element(view)) {
    each(context, view_of({}, *found));
  }
  return 0;
}

void Set::walk_staged(const sets::View& next, RangeStore::Each each, void* context) const {
  if (hash_) {
    walk(0, next, each, context);
    return;
  }
  ranges_->walk_staged(next.now, each, context);
  walk(1ull << 32, next, each, context);
}

void Set::collect(const std::shared_ptr<Set>& set, Ruleset& ruleset, Time now) {
  if (!set->hash_) return;
  set->hash_->expire(now, kExpireAtOnce);
  const sets::Element removed = set->hash_->detach_removed();
  if (removed == 0) return;
  // The deleter runs when no worker can see the elements any more.
  ruleset.retire(std::shared_ptr<const void>(set.get(), [set, removed](const void*) {
    set->hash_->recycle(removed, [&](sets::Element element) { set->forget(element); });
  }));
}

void collect_sets(Ruleset& ruleset) {
  const Time now = ruleset.now();
  ruleset.tables.for_each([&](Table& table) {
    table.sets.for_each([&](Set& set) { Set::collect(table.sets.share(set), ruleset, now); });
  });
}

void Set::forget(sets::Element element) {
  Body gone = body(element);
  // Of what a transaction has deleted, the use counts were given back at once.
  if (hash_->exists(element, kLastGeneration)) gone.release();
  gone.destroy();
  gone.set_extra(nullptr);
}

}  // namespace weir::rules
