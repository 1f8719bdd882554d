#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

namespace weir::rules {

class Chain;
class Object;
class Rule;
class Ruleset;
class Set;
class Table;

/// Who asked for a step: what its event and echo carry in their headers.
struct Requester {
  std::uint32_t port_id = 0;
  std::uint32_t sequence = 0;
  std::uint16_t flags = 0;  // NLM_F_* of the request.
};

/// What a step has made, changed or deleted, for the events (`nft monitor`) and echoes that are
/// sent after the commit, in the order of the steps. It keeps its subjects alive.
struct Notice {
  std::uint8_t message = 0;  // NFT_MSG_*.
  std::shared_ptr<Table> table = {};
  std::shared_ptr<Chain> chain = {};
  std::shared_ptr<Rule> rule = {};
  std::shared_ptr<Set> set = {};
  std::shared_ptr<Object> object = {};
  std::shared_ptr<const void> detail =
      {};  // What only this message's own writer knows, e.g. the set's elements.
  Requester requester = {};
};

/// One step of a transaction that can be taken back. Steps change the model (tables, chains, rules,
/// sets…) when they are made, so that later messages of the batch see them; workers see none of it
/// before the commit. Exactly one of commit() and undo() is called, once.
class Change {
 public:
  virtual ~Change() = default;
  /// Whether it has changed nothing after all; a batch of such steps makes no generation.
  virtual bool is_idle() const { return false; }
  /// The batch holds, the new compiled ruleset is about to be published: make ready what its
  /// readers will find. Must not fail, and must not show to readers of the running generation.
  virtual void prepare() {}
  /// The batch holds, the new compiled ruleset is published: forget what undoing would have needed
  /// (e.g. erase what was hidden). Workers may still read the old ruleset: what that refers to goes
  /// through the epoch. Must not fail.
  virtual void commit() = 0;
  /// Takes the step back. Steps are undone in reverse order, so the model is as it was just after
  /// this step.
  virtual void undo() = 0;
};

/// The work of one nfnetlink batch on a Ruleset. Control thread only; at most one is open at a
/// time. `Ruleset::commit` or `Ruleset::abort` ends it.
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

  /// The generation that this transaction makes when it is committed; the running one is one less.
  /// A set element that this transaction adds exists from it on; one that it deletes exists until
  /// it.
  std::uint64_t generation() const { return generation_; }

  /// Things that the batch has made and names by a number of its own (NFTA_SET_ID, NFTA_CHAIN_ID,
  /// NFTA_RULE_ID) before they have a handle. Null when there is none.
  Set* find_set(const Table& table, std::uint32_t id) const;
  Chain* find_chain(const Table& table, std::uint32_t id) const;
  Rule* find_rule(const Chain& chain, std::uint32_t id) const;
  void name_set(const Table& table, std::uint32_t id, Set& set) { sets_[{&table, id}] = &set; }
  void name_chain(const Table& table, std::uint32_t id, Chain& chain) {
    chains_[{&table, id}] = &chain;
  }
  void name_rule(const Chain& chain, std::uint32_t id, Rule& rule) { rules_[{&chain, id}] = &rule; }

  /// The rules of this chain have changed, so it is compiled anew.
  void touch(Chain& chain);
  /// Something may have made a path between chains longer, or put an expression where it may not
  /// stand: all base chains of this table are walked at commit (Expression::validate).
  void validate(Table& table);

  /// Whether no step has changed anything.
  bool is_empty() const;

  /// Whose message is being worked on; stamped on the notices that follow.
  void set_requester(const Requester& requester) { requester_ = requester; }
  const Requester& requester() const { return requester_; }
  void notify(Notice notice) {
    notice.requester = requester_;
    notices_.push_back(std::move(notice));
  }
  const std::vector<Notice>& notices() const { return notices_; }

 private:
  friend class Ruleset;

  std::uint64_t generation_;
  Requester requester_;
  std::vector<Notice> notices_;
  std::vector<std::unique_ptr<Change>> changes_;
  std::vector<Table*> validated_;
  std::map<std::pair<const void*, std::uint32_t>, Set*> sets_;
  std::map<std::pair<const void*, std::uint32_t>, Chain*> chains_;
  std::map<std::pair<const void*, std::uint32_t>, Rule*> rules_;
};

}  // namespace weir::rules
