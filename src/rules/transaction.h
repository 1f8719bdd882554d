#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace weir::rules {

class Chain;
class Rule;
class Ruleset;
class Set;
class Table;

/// One step of a transaction that can be taken back. Steps change the model (tables, chains, rules,
/// sets…) when they are made, so that later messages of the batch see them; workers see none of it
/// before the commit. Exactly one of the two functions is called, once.
class Change {
 public:
  virtual ~Change() = default;
  /// The batch holds: forget what undoing would have needed (e.g. erase what was hidden). Runs before the new compiled
  /// ruleset is published for `before_publish`, see Transaction. Must not fail.
  virtual void commit() = 0;
  /// Takes the step back. Steps are undone in reverse order, so the model is as it was just after this step.
  virtual void undo() = 0;
};

/// The work of one nfnetlink batch on a Ruleset. Control thread only; at most one is open at a time.
/// `Ruleset::commit` or `Ruleset::abort` ends it.
class Transaction {
 public:
  explicit Transaction(std::uint64_t generation) : generation_(generation) {}

  /// Takes note of a step that has just been done.
  void record(std::unique_ptr<Change> change) { changes_.push_back(std::move(change)); }
  template <typename C, typename... Arguments>
  C& record(Arguments&&... arguments) {
    auto change = std::make_unique<C>(std::forward<Arguments>(arguments)...);
    C& made = *change;
    changes_.push_back(std::move(change));
    return made;
  }

  /// The generation that this transaction makes when it is committed; the running one is one less. A
  /// set element that this transaction adds exists from it on; one that it deletes exists until it.
  std::uint64_t generation() const { return generation_; }

  /// Things that the batch has made and names by a number of its own (NFTA_SET_ID, NFTA_CHAIN_ID,
  /// NFTA_RULE_ID) before they have a handle. Null when there is none.
  Set* find_set(const Table& table, std::uint32_t id) const;
  Chain* find_chain(const Table& table, std::uint32_t id) const;
  Rule* find_rule(const Chain& chain, std::uint32_t id) const;
  void name_set(const Table& table, std::uint32_t id, Set& set) { sets_[{&table, id}] = &set; }
  void name_chain(const Table& table, std::uint32_t id, Chain& chain) { chains_[{&table, id}] = &chain; }
  void name_rule(const Chain& chain, std::uint32_t id, Rule& rule) { rules_[{&chain, id}] = &rule; }

  /// The compiled form of this chain is out of date.
  void touch(Chain& chain) { touched_.push_back(&chain); }

  bool is_empty() const { return changes_.empty(); }

 private:
  friend class Ruleset;

  std::uint64_t generation_;
  std::vector<std::unique_ptr<Change>> changes_;
  std::vector<Chain*> touched_;
  std::map<std::pair<const void*, std::uint32_t>, Set*> sets_;
  std::map<std::pair<const void*, std::uint32_t>, Chain*> chains_;
  std::map<std::pair<const void*, std::uint32_t>, Rule*> rules_;
};

}  // namespace weir::rules
