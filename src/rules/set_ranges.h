#pragma once

#include <cstdint>
#include <memory>

#include "base/bytes.h"
#include "rules/set_element.h"
#include "sets/box_index.h"
#include "sets/view.h"

namespace weir::rules {

/// The elements of a set with ranges, which only transactions change. Workers read versions that
/// are built once; each has the generation from which it holds. A transaction collects its changes
/// beside the newest version, and `prepare` builds the next one.
class RangeStore {
 public:
  virtual ~RangeStore() = default;

  /// The element that a key falls into; null when there is none. Workers, within an epoch.
  virtual const RangeElement* find(Bytes key, const sets::View& view) const = 0;

  // The control thread's. `now` is what decides which elements have expired.

  enum class Outcome : std::uint8_t { added, exists, overlaps };
  struct Added {
    Outcome outcome = Outcome::added;
    RangeElement* element = nullptr;  // The added one, or the one that exists.
  };
  /// Adds to the open transaction, by the kernel's rules on what overlaps what; takes `element`
  /// only when it is added.
  virtual Added add(std::unique_ptr<RangeElement>& element, Time now) = 0;
  /// Takes the element with this very range out, in the open transaction; null when there is none.
  virtual RangeElement* remove(Bytes key, Bytes key_end, bool is_end, Time now) = 0;
  /// Builds the version that holds from `generation` on, and publishes it. Answers with what is to
  /// be retired once the ruleset is published, too; null when nothing has changed.
  virtual std::shared_ptr<const void> prepare(std::uint32_t generation, Time now) = 0;
  /// Forgets the open transaction's changes.
  virtual void abort() = 0;

  /// What `nft get element` answers with; null when there is none.
  virtual const RangeElement* get(Bytes key, Bytes key_end, bool is_end, Time now,
                                  Bytes* own_key) const = 0;
  /// Visits the elements, those of the open transaction instead of the newest version's when
  /// `staged`; from `cursor` on: `each(context, view) -> bool`, false to stop behind this element.
  /// Answers with the next cursor, zero at the end.
  using Each = bool (*)(void* context, const ElementView& element);
  virtual std::uint32_t walk(std::uint32_t cursor, Time now, Each each, void* context) const = 0;
  /// Visits what the open transaction sees.
  virtual void walk_staged(Time now, Each each, void* context) const = 0;

  virtual std::uint32_t count() const = 0;
};

std::unique_ptr<RangeStore> make_interval_store(const BodyLayout& layout, std::uint16_t key_bytes,
                                                bool is_anonymous);
std::unique_ptr<RangeStore> make_box_store(const sets::Fields& fields);

}  // namespace weir::rules
