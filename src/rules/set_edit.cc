#include "rules/set_edit.h"

#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

// Elements of hash sets are in the set from the step on, with the generation of the transaction
// that they are of; deleting writes the generation into them. Undoing takes new ones out and clears
// the generation. Ranges are changed beside the newest version, which `RangesOpened`, the first
// step on such a set, turns into the next version or forgets: undoing runs backwards, so it is
// undone after all steps that still look at elements.

namespace weir::rules {
namespace {

class SetAdded final : public Change {
 public:
  SetAdded(Table& table, Set& set) : table_(table), set_(set) {}
  /// From now on an anonymous set is its rule's affair, not the table's (nf_tables_commit).
  void commit() override {
    if (!is_bound_anonymous(set_)) return;
    --table_.use;
    set_.counts_for_table = false;
  }
  void undo() override {
    table_.use -= set_.counts_for_table;
    table_.sets.erase(set_);
  }

 private:
  Table& table_;
  Set& set_;
};

/// Calls hold or release of everything that the elements of a set map to, as the open transaction
/// sees them.
void for_all_bodies(const Set& set, void (*visit)(const Body&)) {
  set.walk_staged(
      {.now = {}, .generation = sets::kNever - 1},
      [](void* context, const ElementView& element) {
        (*reinterpret_cast<void (**)(const Body&)>(context))(element.body);
        return true;
      },
      &visit);
}

void hold_all(const Set& set) {
  for_all_bodies(set, [](const Body& body) { body.hold(); });
}
void release_all(const Set& set) {
  for_all_bodies(set, [](const Body& body) { body.release(); });
}

class SetDeleted final : public Change {
 public:
  SetDeleted(Ruleset& ruleset, Table& table, std::shared_ptr<Set> set)
      : ruleset_(ruleset), table_(table), set_(std::move(set)) {}
  void commit() override { ruleset_.retire(std::move(set_)); }
  void undo() override {
    hold_all(*set_);
    table_.use += set_->counts_for_table;
    table_.sets.show(*set_);
  }

 private:
  Ruleset& ruleset_;
  Table& table_;
  std::shared_ptr<Set> set_;
};

void unlink_catch_all(Ruleset& ruleset, Set& set, std::shared_ptr<RangeElement> element) {
  std::atomic<RangeElement*>* link = &set.catch_all();
  while (link->load(std::memory_order_relaxed) != element.get()) {
    link = &link->load(std::memory_order_relaxed)->next;
  }
  link->store(element->next.load(std::memory_order_relaxed), std::memory_order_release);
  ruleset.retire(std::move(element));
}

Error taken(const char* text) { return Error{EEXIST, text}; }

}  // namespace

Set& add_set(Ruleset& ruleset, Transaction& transaction, Table& table, std::shared_ptr<Set> set) {
  Set& added = *set;
  added.table = &table;
  added.handle = table.next_handle();
  table.sets.add(set);
  ++table.use;
  transaction.record<SetAdded>(table, added);
  Notice notice;
  notice.message = NFT_MSG_NEWSET;
  notice.table = ruleset.tables.share(table);
  notice.set = std::move(set);
  transaction.notify(std::move(notice));
  return added;
}

void delete_set(Ruleset& ruleset, Transaction& transaction, Table& table, Set& set) {
  auto shared = table.sets.share(set);
  release_all(set);
  table.sets.hide(set);
  table.use -= set.counts_for_table;
  transaction.record<SetDeleted>(ruleset, table, shared);
  Notice notice;
  notice.message = NFT_MSG_DELSET;
  notice.table = ruleset.tables.share(table);
  notice.set = std::move(shared);
  transaction.notify(std::move(notice));
}

bool is_bound_anonymous(const Set& set) { return set.is_anonymous() && set.bindings > 0; }

void bind_set(Set& set) {
  ++set.use;
  ++set.bindings;
  if (!set.is_anonymous() || set.table->sets.is_shown(set)) return;
  set.table->sets.show(set);
  set.table->use += set.counts_for_table;
  hold_all(set);
}

void unbind_set(Set& set) {
  --set.use;
  --set.bindings;
  if (!set.is_anonymous() || set.bindings > 0) return;
  release_all(set);
  set.table->sets.hide(set);
  set.table->use -= set.counts_for_table;
}

Result<StatefulExpressions> parse_element_expression(const netlink::Attribute& attribute,
                                                     ParseContext& context) {
  auto parsed = parse_expression(attribute, context);
  if (!parsed) return std::unexpected(parsed.error());
  if (!(*parsed)->kind().is_stateful) {
    return std::unexpected(
        attribute.error(EOPNOTSUPP, "the expression can't stand in set elements"));
  }
  StatefulExpressions expressions;
  expressions.emplace_back(static_cast<StatefulExpression*>(parsed->release()));
  return expressions;
}

Result<StatefulExpressions> parse_element_expressions(const netlink::Attribute& list,
                                                      ParseContext& context) {
  StatefulExpressions expressions;
  for (const netlink::Attribute& each : list.nested()) {
    if (expressions.size() == kSetExpressionsMax) {
      return std::unexpected(list.error(E2BIG, "an element can have two expressions at most"));
    }
    if (each.type() != NFTA_LIST_ELEM) {
      return std::unexpected(each.error(EINVAL, "not a list of expressions"));
    }
    auto parsed = parse_element_expression(each, context);
    if (!parsed) return parsed;
    expressions.push_back(std::move(parsed->front()));
  }
  return expressions;
}

Result<void> check_expressions(const Set& set, const StatefulExpressions& expressions) {
  const auto& own = set.expressions();
  if (own.empty() || expressions.empty()) return {};
  const bool fits = std::ranges::equal(
      own, expressions, [](const auto& a, const auto& b) { return &a->kind() == &b->kind(); });
  if (fits) return {};
  return std::unexpected(Error{EOPNOTSUPP, "the set prescribes other expressions"});
}

ElementView ElementsNotice::view(const Set& set, const Item& item) const {
  if (!item.range) return set.view_of(item.hashed);
  return {.key = item.range_key,
          .key_end = item.range->key_end,
          .flags = item.range->flags,
          .timeout = item.range->timeout,
          .deadline = item.range->deadline,
          .body = item.range->body};
}

class ElementsEdit::Added final : public Change {
 public:
  Added(Ruleset& ruleset, std::shared_ptr<Set> set) : ruleset_(ruleset), set_(std::move(set)) {}
  bool is_idle() const override { return hashed.empty() && ranges.empty() && !catch_all; }
  void commit() override {}
  void undo() override {
    for (const sets::Element element : hashed) {
      set_->body(element).release();
      set_->hash()->exist_until(element, sets::kAlways);  // Its use counts are given back.
      set_->hash()->erase(element);
    }
    for (RangeElement* element : ranges) element->body.release();
    if (catch_all) {
      catch_all->body.release();
      unlink_catch_all(ruleset_, *set_, std::shared_ptr<RangeElement>(catch_all));
    }
  }

  std::vector<sets::Element> hashed;
  std::vector<RangeElement*> ranges;
  RangeElement* catch_all = nullptr;

 private:
  Ruleset& ruleset_;
  std::shared_ptr<Set> set_;
};

class ElementsEdit::Removed final : public Change {
 public:
  Removed(Ruleset& ruleset, std::shared_ptr<Set> set) : ruleset_(ruleset), set_(std::move(set)) {}
  bool is_idle() const override { return hashed.empty() && ranges.empty() && !catch_all; }
  void commit() override {
    for (const sets::Element element : hashed) set_->hash()->erase(element);
    set_->pending.leaving -= static_cast<std::uint32_t>(hashed.size());
    if (!catch_all) return;
    const std::shared_ptr<RangeElement> gone(catch_all);
    *keep = gone;
    unlink_catch_all(ruleset_, *set_, gone);
  }
  void undo() override {
    for (const sets::Element element : hashed) {
      set_->hash()->exist_until(element, sets::kNever);
      set_->body(element).hold();
    }
    set_->pending.leaving -= static_cast<std::uint32_t>(hashed.size());
    for (RangeElement* element : ranges) element->body.hold();
    if (catch_all) {
      catch_all->removed.store(sets::kNever, std::memory_order_release);
      catch_all->body.hold();
    }
  }

  std::vector<sets::Element> hashed;
  std::vector<RangeElement*> ranges;
  RangeElement* catch_all = nullptr;
  std::shared_ptr<std::shared_ptr<const void>> keep =
      std::make_shared<std::shared_ptr<const void>>();

 private:
  Ruleset& ruleset_;
  std::shared_ptr<Set> set_;
};

class ElementsEdit::RangesOpened final : public Change {
 public:
  RangesOpened(Ruleset& ruleset, std::shared_ptr<Set> set, std::uint32_t generation, Time now)
      : ruleset_(ruleset), set_(std::move(set)), generation_(generation), now_(now) {
    set_->pending.versions = versions;
  }
  bool is_idle() const override {
    return true;
  }  // What is done to the ranges are steps of their own.
  void prepare() override { *versions = set_->ranges()->prepare(generation_, now_); }
  void commit() override {
    set_->pending = {};
    if (*versions) ruleset_.retire(*versions);
  }
  void undo() override {
    set_->pending = {};
    set_->ranges()->abort();
  }

  std::shared_ptr<std::shared_ptr<const void>> versions =
      std::make_shared<std::shared_ptr<const void>>();

 private:
  Ruleset& ruleset_;
  std::shared_ptr<Set> set_;
  std::uint32_t generation_;
  Time now_;
};

ElementsEdit::ElementsEdit(Ruleset& ruleset, Transaction& transaction, std::shared_ptr<Set> set,
                           std::uint8_t message, Time now)
    : ruleset_(ruleset),
      transaction_(transaction),
      set_(std::move(set)),
      message_(message),
      now_(now),
      notice_(std::make_shared<ElementsNotice>()) {}

ElementsEdit::~ElementsEdit() {
  if (notice_->items.empty()) return;
  if (set_->pending.versions) notice_->keep.push_back(set_->pending.versions);
  if (removed_) notice_->keep.push_back(removed_->keep);
  Notice notice;
  notice.message = message_;
  notice.table = ruleset_.tables.share(*set_->table);
  notice.set = std::move(set_);
  notice.detail = std::move(notice_);
  transaction_.notify(std::move(notice));
}

void ElementsEdit::open_ranges() {
  if (set_->pending.versions) return;
  transaction_.record<RangesOpened>(ruleset_, set_, next().generation, now_);
}

Result<void> ElementsEdit::add(NewElement element, bool exclusive) {
  // The steps that undo what is added come after RangesOpened, so that they are undone before it.
  if (set_->ranges()) open_ranges();
  if (!added_) added_ = &transaction_.record<Added>(ruleset_, set_);
  if (element.flags & NFT_SET_ELEM_CATCHALL) return add_catch_all(element, exclusive);
  return set_->hash() ? add_hashed(element, exclusive) : add_range(element, exclusive);
}

void ElementsEdit::fill(Body body, NewElement& element) {
  const bool leads_on = element.data && element.data->chain;
  const bool has_own_states = set_->layout().state_count == 0 && !element.states.empty();
  if (!element.userdata.empty() || leads_on || element.object || has_own_states) {
    auto extra = std::make_unique<ElementExtra>();
    extra->userdata = std::move(element.userdata);
    if (leads_on) extra->target = *element.data;
    extra->object = element.object;
    if (has_own_states) extra->states = element.states;
    body.set_extra(std::move(extra));
  }
  if (element.data && element.data->is_verdict) {
    body.set_verdict(element.data->verdict);
  } else if (element.data) {
    body.set_value(element.data->bytes());
  }
  if (element.object) body.set_object(element.object.get());
  body.set_states(element.states);
  body.hold();
}

bool ElementsEdit::is_equal(const Body& there, const NewElement& element) const {
  if (element.object) return there.object() == element.object.get();
  if (!element.data) return true;
  if (element.data->is_verdict) return there.verdict() == element.data->verdict;
  return std::memcmp(there.value(), element.data->value.data(), set_->layout().data_bytes) == 0;
}

Result<void> ElementsEdit::add_hashed(NewElement& element, bool exclusive) {
  sets::HashSet& hash = *set_->hash();
  sets::Element made = 0;
  if (const sets::Element there = hash.find(element.key, next())) {
    if (!is_equal(set_->body(there), element)) {
      return std::unexpected(taken("the map has this key with another value"));
    }
    if (exclusive) return std::unexpected(taken("the set has this element already"));
    return {};
  }
  made = hash.allocate(element.key, set_->pending.leaving);
  if (made == 0) return std::unexpected(Error{ENFILE, "the set is full"});
  fill(set_->body(made), element);
  hash.exist_from(made, next().generation);
  if (element.timeout != Duration{}) {
    const Duration left = element.expiration != Duration{} ? element.expiration : element.timeout;
    hash.set_timeout(made, element.timeout, now_ + left);
  }
  // A packet can't have been faster with the same key but by a dynset; then its element is the one.
  if (hash.link(made, next()) != made) {
    Body lost = set_->body(made);
    lost.release();
    lost.destroy();
    lost.set_extra(nullptr);
    hash.discard(made);
    return {};
  }
  added_->hashed.push_back(made);
  notice_->items.push_back({.hashed = made, .range = nullptr, .range_key = {}});
  return {};
}

Result<void> ElementsEdit::add_range(NewElement& element, bool exclusive) {
  auto made =
      std::make_unique<RangeElement>(set_->layout(), element.key, element.key_end, element.flags);
  if (element.timeout != Duration{}) {
    made->timeout = element.timeout;
    made->deadline =
        now_ + (element.expiration != Duration{} ? element.expiration : element.timeout);
  }
  fill(made->body, element);
  const Body body = made->body;
  const auto added = set_->ranges()->add(made, now_);
  if (added.outcome != RangeStore::Outcome::added) body.release();
  if (added.outcome == RangeStore::Outcome::overlaps) {
    return std::unexpected(taken("the interval overlaps another"));
  }
  if (added.outcome == RangeStore::Outcome::exists) {
    if (!is_equal(added.element->body, element)) {
      return std::unexpected(taken("the map has this key with another value"));
    }
    if (exclusive) return std::unexpected(taken("the set has this element already"));
    return {};
  }
  added_->ranges.push_back(added.element);
  notice_->items.push_back(
      {.hashed = 0, .range = added.element, .range_key = std::move(element.key)});
  ++set_->pending.arriving;
  const std::uint32_t most = set_->ranges_at_most();
  if (most != 0 &&
      set_->ranges()->count() + set_->pending.arriving > most + set_->pending.leaving) {
    return std::unexpected(Error{ENFILE, "the set is full"});
  }
  return {};
}

Result<void> ElementsEdit::add_catch_all(NewElement& element, bool exclusive) {
  if (const RangeElement* const there = set_->find_catch_all_element(next())) {
    if (!is_equal(there->body, element)) {
      return std::unexpected(taken("the map has a catch-all element with another value"));
    }
    if (exclusive) return std::unexpected(taken("the set has a catch-all element already"));
    return {};
  }
  auto made = std::make_unique<RangeElement>(set_->layout(), std::vector<std::uint8_t>{},
                                             std::vector<std::uint8_t>{}, element.flags);
  if (element.timeout != Duration{}) {
    made->timeout = element.timeout;
    made->deadline =
        now_ + (element.expiration != Duration{} ? element.expiration : element.timeout);
  }
  fill(made->body, element);
  made->added.store(next().generation, std::memory_order_relaxed);
  made->next.store(set_->catch_all().load(std::memory_order_relaxed), std::memory_order_relaxed);
  added_->catch_all = made.get();
  notice_->items.push_back({.hashed = 0, .range = made.get(), .range_key = {}});
  set_->catch_all().store(made.release(), std::memory_order_release);
  return {};
}

void ElementsEdit::remove_hashed(sets::Element element) {
  set_->hash()->exist_until(element, next().generation);
  set_->body(element).release();
  ++set_->pending.leaving;
  removed_->hashed.push_back(element);
  notice_->items.push_back({.hashed = element, .range = nullptr, .range_key = {}});
}

Result<void> ElementsEdit::remove(Bytes key, Bytes key_end, std::uint32_t flags) {
  const Error absent{ENOENT, "the set has no such element"};
  if (set_->ranges()) open_ranges();
  if (!removed_) removed_ = &transaction_.record<Removed>(ruleset_, set_);
  if (flags & NFT_SET_ELEM_CATCHALL) {
    auto* const found = const_cast<RangeElement*>(set_->find_catch_all_element(next()));
    if (!found) return std::unexpected(absent);
    found->removed.store(next().generation, std::memory_order_release);
    found->body.release();
    removed_->catch_all = found;
    notice_->items.push_back({.hashed = 0, .range = found, .range_key = {}});
    return {};
  }
  if (set_->hash()) {
    const sets::Element found = set_->hash()->find(key, next());
    if (found == 0) return std::unexpected(absent);
    remove_hashed(found);
    return {};
  }
  RangeElement* const found =
      set_->ranges()->remove(key, key_end, flags & NFT_SET_ELEM_INTERVAL_END, now_);
  if (!found) return std::unexpected(absent);
  found->body.release();
  ++set_->pending.leaving;
  removed_->ranges.push_back(found);
  notice_->items.push_back({.hashed = 0, .range = found, .range_key = {key.begin(), key.end()}});
  return {};
}

void ElementsEdit::flush() {
  struct Key {
    std::vector<std::uint8_t> low;
    std::vector<std::uint8_t> high;
    std::uint32_t flags;
  };
  std::vector<Key> keys;
  set_->walk_staged(
      next(),
      [](void* context, const ElementView& element) {
        static_cast<std::vector<Key>*>(context)->push_back(
            {{element.key.begin(), element.key.end()},
             {element.key_end.begin(), element.key_end.end()},
             element.flags});
        return true;
      },
      &keys);
  for (const Key& key : keys) (void)remove(key.low, key.high, key.flags);
}

}  // namespace weir::rules
