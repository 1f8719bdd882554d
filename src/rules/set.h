#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rules/ruleset.h"
#include "rules/set_element.h"
#include "rules/set_ranges.h"
#include "sets/hash_set.h"

namespace weir::rules {

/// What a set is told to be (NFTA_SET_*). Numbers and flags as on the wire.
struct SetDescription {
  std::string name;
  std::uint32_t flags = 0;     // NFT_SET_*.
  std::uint32_t key_type = 0;  // Types are the tool's business.
  std::uint16_t key_bytes = 0;
  std::uint32_t data_type = 0;  // NFT_DATA_VERDICT or the tool's.
  std::uint16_t data_bytes = 0;
  std::uint32_t object_type = 0;  // NFT_OBJECT_*.
  std::uint32_t size = 0;         // Most elements; zero: any number.
  std::uint32_t policy = 0;
  std::uint32_t gc_interval_ms = 0;
  Duration timeout{};   // Of elements that come without one.
  sets::Fields fields;  // Of a concatenation; count zero: not told.
  std::vector<std::uint8_t> userdata;
};

/// Most stateful expressions of an element (NFT_SET_EXPR_MAX).
inline constexpr std::uint16_t kSetExpressionsMax = 2;

/// A set or map of a table. Packets look up in it, and add and delete (dynset) where it isn't of
/// ranges; transactions change it by the steps of set_edit.h. Elements carry the generations in
/// which they exist, or lie in versions that do, so that what a transaction does to many elements
/// happens to packets at once, with the new ruleset.
class Set {
 public:
  /// `expressions`: what every new element gets.
  Set(SetDescription description, std::vector<std::unique_ptr<StatefulExpression>> expressions);
  ~Set();
  Set(const Set&) = delete;
  Set& operator=(const Set&) = delete;

  std::uint64_t handle = 0;
  Table* table = nullptr;
  std::uint32_t use = 0;  // Expressions that refer to it; nonzero refuses deletion with EBUSY.
  std::uint32_t bindings =
      0;  // Those of rules that are in the ruleset: an anonymous set has one, then it is gone.
  bool counts_for_table = true;  // In Table::use.

  std::string_view key() const { return description_.name; }
  const std::string& name() const { return description_.name; }
  const SetDescription& description() const { return description_; }
  const std::vector<std::unique_ptr<StatefulExpression>>& expressions() const {
    return expressions_;
  }
  const BodyLayout& layout() const { return layout_; }
  bool has(std::uint32_t flag) const { return description_.flags & flag; }
  bool is_map() const;
  bool is_verdict_map() const { return layout_.is_verdict; }
  bool is_anonymous() const;
  /// Whether packets may change it.
  bool is_updatable() const { return hash_ != nullptr; }

  // For workers, within an epoch.

  /// What a key maps to: its element, or the catch-all element; null when there is neither.
  Body find(const std::uint8_t* key, const sets::View& view) const {
    const Bytes bytes(key, description_.key_bytes);
    if (hash_) {
      if (const sets::Element found = hash_->find(bytes, view)) return body(found);
    } else if (const RangeElement* found = ranges_->find(bytes, view)) {
      return found->body;
    }
    return catch_all_.load(std::memory_order_acquire) ? find_catch_all(view) : Body();
  }

  /// What a packet's new element is made of.
  struct Fresh {
    Bytes value;  // Of a map.
    std::span<const State> states;
    Duration timeout{};  // Zero: the set's.
  };
  /// The element of a key, made when there is none; null when the set is full. `extends`: an
  /// element that is there gets the timeout anew. Requires is_updatable().
  Body find_or_add(const std::uint8_t* key, const Fresh& fresh, bool extends,
                   const sets::View& view);
  void erase(const std::uint8_t* key, const sets::View& view);

  // For the control thread.

  std::uint32_t count() const;
  /// What NFTA_SET_COUNT says: like count(), but an interval, which is two elements, counts once.
  std::uint32_t told_count() const;
  /// Of a set of ranges: the most elements that its size allows, zero for any number. The kernel
  /// allows for both ends of each interval, and for the end at zero with which nft begins.
  std::uint32_t ranges_at_most() const;
  /// The element that `nft get element` asks for; for a set of ranges, the one that the key falls
  /// into.
  std::optional<ElementView> get(Bytes key, Bytes key_end, std::uint32_t flags,
                                 const sets::View& view) const;
  /// A dynset gives a set without a limit one (nft_dynset_init).
  void limit_size();
  /// Visits what the view sees, catch-all elements last: `each(context, view) -> bool`, false to
  /// stop behind this element. Answers with the cursor to go on from, zero at the end.
  std::uint64_t walk(std::uint64_t cursor, const sets::View& view, RangeStore::Each each,
                     void* context) const;
  /// The same for what the open transaction sees, in one go.
  void walk_staged(const sets::View& next, RangeStore::Each each, void* context) const;

  /// Removes some expired elements, and retires the memory of removed ones. Between transactions,
  /// now and then.
  static void collect(const std::shared_ptr<Set>& set, Ruleset& ruleset, Time now);

  Body body(sets::Element element) const { return {hash_->value(element).data(), layout_}; }
  sets::HashSet* hash() { return hash_.get(); }
  const sets::HashSet* hash() const { return hash_.get(); }
  RangeStore* ranges() { return ranges_.get(); }
  const RangeStore* ranges() const { return ranges_.get(); }
  std::atomic<RangeElement*>& catch_all() { return catch_all_; }
  const RangeElement* find_catch_all_element(const sets::View& view) const;
  ElementView view_of(sets::Element element) const;
  static ElementView view_of(Bytes key, const RangeElement& element);

  /// What the open transaction keeps in mind of a set (set_edit.cc): elements about to be deleted,
  /// which don't count against the size, elements of ranges about to come, and where the version
  /// that they replace will be kept.
  struct Pending {
    std::uint32_t leaving = 0;
    std::uint32_t arriving = 0;
    std::shared_ptr<std::shared_ptr<const void>> versions;
  };
  Pending pending;

 private:
  Body find_catch_all(const sets::View& view) const;
  void forget(sets::Element element);

  SetDescription description_;
  std::vector<std::unique_ptr<StatefulExpression>> expressions_;
  BodyLayout layout_;
  std::unique_ptr<sets::HashSet> hash_;
  std::unique_ptr<RangeStore> ranges_;
  std::atomic<RangeElement*> catch_all_{nullptr};
};

}  // namespace weir::rules
