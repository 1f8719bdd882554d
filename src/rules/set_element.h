#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "rules/data.h"
#include "rules/object.h"
#include "rules/set_state.h"
#include "rules/verdict.h"
#include "sets/view.h"

namespace weir::rules {

/// What an element has that packets don't need, or that few elements have. The control thread's,
/// constant once the element is published, except for what `states` count.
struct ElementExtra {
  std::vector<std::uint8_t> userdata;
  Data target;  // A verdict that leads to a chain.
  std::shared_ptr<Object> object;
  std::vector<State> states;  // Of an element that has some where its set has no room for them.
};

/// How the elements of one set lie in memory behind their keys: a pointer to the extras, then what
/// the key maps to (a value, a verdict, or a pointer to an object), then the states.
struct BodyLayout {
  bool is_verdict = false;
  bool is_object = false;
  std::uint16_t data_bytes = 0;  // Of a value.
  std::uint16_t states_at = 0;
  std::uint16_t state_count = 0;
  std::uint16_t bytes = 0;

  static constexpr std::uint16_t kDataAt = 8;
  static BodyLayout make(std::uint16_t data_bytes, bool is_verdict, bool is_object,
                         std::uint16_t states);
};

/// An element's body. Null when there is no element. Reading is for workers and control threads;
/// writing only before the element is published.
class Body {
 public:
  Body() = default;
  Body(std::uint8_t* at, const BodyLayout& layout) : at_(at), layout_(&layout) {}

  explicit operator bool() const { return at_ != nullptr; }
  /// Holds nothing: its key is all there is.
  bool is_bare() const { return layout_->bytes == BodyLayout::kDataAt && extra() == nullptr; }
  ElementExtra* extra() const { return load<ElementExtra*>(at_); }
  const std::uint8_t* value() const { return at_ + BodyLayout::kDataAt; }
  Verdict verdict() const { return load<Verdict>(value()); }
  Object* object() const { return load<Object*>(value()); }
  /// The states to evaluate; those of kind none do nothing.
  std::span<State> states() const {
    if (layout_->state_count > 0) {
      return {reinterpret_cast<State*>(at_ + layout_->states_at), layout_->state_count};
    }
    ElementExtra* const it = extra();
    return it ? std::span<State>(it->states) : std::span<State>();
  }
  /// Counts in the element's states, or breaks off the rule as soon as one says so.
  void eval_states(Registers& registers, Context& context) const {
    for (State& state : states()) {
      state.eval(registers, context);
      if (registers.verdict.code != VerdictCode::next) return;
    }
  }

  void set_extra(std::unique_ptr<ElementExtra> extra) { store(at_, extra.release()); }
  void set_value(Bytes value);
  void set_verdict(const Verdict& verdict) { store(at_ + BodyLayout::kDataAt, verdict); }
  void set_object(Object* object) { store(at_ + BodyLayout::kDataAt, object); }
  void set_states(std::span<const State> states);
  /// Frees the extras, when the element is gone for everybody.
  void destroy() { delete extra(); }

  /// Use counts of what it maps to.
  void hold() const;
  void release() const;

 private:
  std::uint8_t* at_ = nullptr;
  const BodyLayout* layout_ = nullptr;
};

/// An element of a set of ranges (or a catch-all element): one end of an interval, or a box.
/// Constant once published but for its states.
struct RangeElement {
  RangeElement(const BodyLayout& layout, std::vector<std::uint8_t> key,
               std::vector<std::uint8_t> key_end, std::uint32_t flags);
  ~RangeElement() { body.destroy(); }
  RangeElement(const RangeElement&) = delete;
  RangeElement& operator=(const RangeElement&) = delete;

  bool is_end() const;
  bool is_expired(Time now) const { return deadline != Time{} && deadline <= now; }

  const std::vector<std::uint8_t> key;      // Empty for a catch-all element.
  const std::vector<std::uint8_t> key_end;  // Boxes only; empty when not given.
  const std::uint32_t flags;                // NFT_SET_ELEM_*.
  Duration timeout{};
  Time deadline{};
  /// Catch-all elements only: the generations in which they exist, and the next of the list.
  std::atomic<std::uint32_t> added{sets::kAlways};
  std::atomic<std::uint32_t> removed{sets::kNever};
  std::atomic<RangeElement*> next{nullptr};

 private:
  std::unique_ptr<std::uint64_t[]> memory_;

 public:
  Body body;
};

/// An element as it is told to people and tools.
struct ElementView {
  Bytes key;
  Bytes key_end;
  std::uint32_t flags = 0;
  Duration timeout{};
  Time deadline{};
  Body body;
};

}  // namespace weir::rules
