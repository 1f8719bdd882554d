#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "rules/set.h"

/// The steps of a transaction on sets and their elements. See edit.h.
namespace weir::rules {

/// Lists a new set and allots its handle. The name must be free.
Set& add_set(Ruleset& ruleset, Transaction& transaction, Table& table, std::shared_ptr<Set> set);

/// What an expression of a rule does in its hold() and release(): an anonymous set that loses its
/// only rule leaves its table with all that its elements hold, and returns when that is undone.
void bind_set(Set& set);
void unbind_set(Set& set);

using StatefulExpressions = std::vector<std::unique_ptr<StatefulExpression>>;

/// Reads one expression for set elements, or a list of them (NFTA_LIST_ELEM); an absent attribute
/// is none. Errors: EOPNOTSUPP for one that has no state, E2BIG for more than two, EINVAL for
/// anything else in the list.
Result<StatefulExpressions> parse_element_expression(const netlink::Attribute& attribute,
                                                     ParseContext& context);
Result<StatefulExpressions> parse_element_expressions(const netlink::Attribute& list,
                                                      ParseContext& context);
/// EOPNOTSUPP when the set prescribes other expressions for its elements than these (none means the
/// set's own).
Result<void> check_expressions(const Set& set, const StatefulExpressions& expressions);

/// A new element, checked for what its set can hold.
struct NewElement {
  std::vector<std::uint8_t> key;      // Of the set's length; empty for a catch-all element.
  std::vector<std::uint8_t> key_end;  // Boxes.
  std::uint32_t flags = 0;            // NFT_SET_ELEM_*.
  std::optional<Data> data;
  std::shared_ptr<Object> object;
  Duration timeout{};     // Zero: never.
  Duration expiration{};  // Zero: the timeout.
  std::vector<State> states;
  std::vector<std::uint8_t> userdata;
};

/// Elements that one message has added to or deleted from a set: the detail of its Notice. The
/// notice keeps alive what this points to.
struct ElementsNotice {
  struct Item {
    sets::Element hashed = 0;
    RangeElement* range = nullptr;
    std::vector<std::uint8_t> range_key;
  };
  std::vector<Item> items;
  std::vector<std::shared_ptr<const std::shared_ptr<const void>>> keep;
  ElementView view(const Set& set, const Item& item) const;
};

/// Works on the elements of one set for one message of a batch; notes the notice when it is
/// destroyed.
class ElementsEdit {
 public:
  ElementsEdit(Ruleset& ruleset, Transaction& transaction, std::shared_ptr<Set> set,
               std::uint8_t message, Time now);
  ~ElementsEdit();
  ElementsEdit(const ElementsEdit&) = delete;
  ElementsEdit& operator=(const ElementsEdit&) = delete;

  /// Errors: EEXIST when the element is there with another value, or at all and `exclusive`, or
  /// overlaps another; ENFILE when the set is full. An equal element that is there is success.
  Result<void> add(NewElement element, bool exclusive);
  /// Errors: ENOENT when there is no such element.
  Result<void> remove(Bytes key, Bytes key_end, std::uint32_t flags);
  /// Removes all elements.
  void flush();

 private:
  class Added;
  class Removed;
  class RangesOpened;

  Result<void> add_hashed(NewElement& element, bool exclusive);
  Result<void> add_range(NewElement& element, bool exclusive);
  Result<void> add_catch_all(NewElement& element, bool exclusive);
  void fill(Body body, NewElement& element);
  bool is_equal(const Body& there, const NewElement& element) const;
  void remove_hashed(sets::Element element);
  void open_ranges();
  sets::View next() const {
    return {.now = now_, .generation = static_cast<std::uint32_t>(transaction_.generation())};
  }

  Ruleset& ruleset_;
  Transaction& transaction_;
  std::shared_ptr<Set> set_;
  std::uint8_t message_;
  Time now_;
  std::shared_ptr<ElementsNotice> notice_;
  Added* added_ = nullptr;
  Removed* removed_ = nullptr;
};

}  // namespace weir::rules
