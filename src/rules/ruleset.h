#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/epoch.h"
#include "base/error.h"
#include "rules/expression.h"
#include "rules/hook.h"
#include "rules/named_list.h"
#include "rules/transaction.h"
#include "rules/verdict.h"

namespace weir::conntrack {
class Table;
}

namespace weir::rules {

class CompiledChain;
class CompiledRuleset;
class Object;
class Set;

/// A rule: its expressions and what its owner wrote beside them. Constant once made; replacing
/// makes a new one.
class Rule {
 public:
  std::uint64_t handle = 0;
  Chain* chain = nullptr;
  std::list<std::pair<std::shared_ptr<Rule>, bool>>::iterator at;  // Its place in chain->rules.
  std::vector<std::unique_ptr<Expression>> expressions;
  std::vector<std::uint8_t> userdata;

  void hold();
  void release();
};

/// What makes a chain a base chain.
struct BaseChain {
  ChainType type = ChainType::filter;
  Hook hook = Hook::input;
  std::int32_t priority = 0;
  VerdictCode policy = VerdictCode::accept;
  std::vector<std::string> devices;  // netdev and inet ingress; empty elsewhere.
  /// Position among base chains of equal priority: the latest registered runs first.
  std::uint64_t registered = 0;
};

/// Packets and bytes that a base chain's policy decided on (NFTA_CHAIN_COUNTERS), kept only once a
/// tool has set them.
struct ChainCounters {
  std::atomic<std::uint64_t> packets = 0;
  std::atomic<std::uint64_t> bytes = 0;
};

/// A chain. The object keeps its identity while its rules change; jumps name it by its slot.
class Chain {
 public:
  std::string name;
  std::uint64_t handle = 0;
  Table* table = nullptr;
  ChainSlot slot = 0;
  std::uint32_t use =
      0;  // Rules in it plus verdicts that lead to it; nonzero refuses deletion with EBUSY.
  std::uint32_t flags = 0;  // NFT_CHAIN_*.
  std::optional<BaseChain> base;
  std::shared_ptr<ChainCounters> counters;
  std::vector<std::uint8_t> userdata;
  bool is_bound = false;  // A binding chain whose rule has been added.

  /// The compiled form of the rules as they are in the running ruleset; null when they have changed
  /// since.
  std::shared_ptr<const CompiledChain> compiled;
  /// The rules in order. `bool`: is shown; deleted ones stay in place until the commit.
  std::list<std::pair<std::shared_ptr<Rule>, bool>> rules;
  /// The shown ones; a rule that replaces another takes over its handle.
  std::unordered_map<std::uint64_t, Rule*> rules_by_handle;

  std::string_view key() const { return name; }
  bool is_binding() const;
  /// The shown rule of that handle; null when there is none.
  Rule* find_rule(std::uint64_t handle) const;
  template <typename Each>
  void for_each_rule(Each&& each) const {
    for (const auto& [rule, is_shown] : rules) {
      if (is_shown) each(*rule);
    }
  }
};

/// What tables are found by: names are unique within a family only.
inline std::string table_key(Family family, std::string_view name) {
  std::string key(1, static_cast<char>(family));
  key += name;
  return key;
}

/// A table: a name space for chains, sets and objects of one family.
class Table {
 public:
  Table();
  ~Table();

  std::string name;
  std::uint64_t handle = 0;
  Family family = Family::unspec;
  std::uint32_t flags = 0;  // NFT_TABLE_F_*.
  std::uint32_t owner = 0;  // Netlink port of the owner when NFT_TABLE_F_OWNER is set.
  std::uint32_t use = 0;    // Chains, sets, objects and flowtables in it (NFTA_TABLE_USE).
  std::uint64_t last_handle =
      0;  // Handles of chains, sets, objects and rules come from one counter.
  std::vector<std::uint8_t> userdata;

  NamedList<Chain> chains;
  NamedList<Set> sets;
  /// Named objects may share a name when their types differ: see object.h for the key.
  NamedList<Object> objects;

  std::string key() const { return table_key(family, name); }
  std::uint64_t next_handle() { return ++last_handle; }
  bool is_dormant() const;
};

/// All tables, the running compiled ruleset, and the way from one generation to the next.
///
/// The model (tables, chains, rules, sets, objects) belongs to the control thread, which edits it
/// in place within a transaction and can undo every step. Workers never look at the model: they
/// read `running()`, an immutable CompiledRuleset, once a batch within an epoch. A commit
/// validates, compiles the chains that changed, and publishes by one pointer store.
class Ruleset {
 public:
  explicit Ruleset(Epochs& epochs);
  ~Ruleset();
  Ruleset(const Ruleset&) = delete;
  Ruleset& operator=(const Ruleset&) = delete;

  NamedList<Table> tables;
  Table* find_table(Family family, std::string_view name) const {
    return tables.find(table_key(family, name));
  }
  std::uint64_t next_table_handle() { return ++numbers_.table_handle; }

  /// The number of the ruleset that runs; nft sees its low 32 bits.
  std::uint64_t generation() const { return numbers_.generation; }
  Transaction begin() { return Transaction(numbers_.generation + 1); }
  /// Makes everything of the transaction hold at once and the next generation run; a transaction
  /// without steps changes nothing, not even the generation. Errors: EMLINK, EOPNOTSUPP of the
  /// validation; then everything is undone.
  Result<void> commit(Transaction& transaction);
  /// Checks what commit would check (`nft -c`), without undoing anything.
  Result<void> validate(Transaction& transaction) const;
  /// Undoes all steps.
  void abort(Transaction& transaction);

  /// What workers run; valid until their next quiet point. Never null.
  const CompiledRuleset* running() const { return running_.load(std::memory_order_acquire); }
  Epochs& epochs() const { return epochs_; }
  /// Whose connections the rules are about; null where there are none.
  conntrack::Table* connections() const { return connections_; }
  void set_connections(conntrack::Table* connections) { connections_ = connections; }
  /// Keeps something alive until no worker can see it any more.
  void retire(std::shared_ptr<const void> unlinked);
  /// Frees what has been retired long enough ago; called at every commit, and now and then by a
  /// control thread.
  void collect();

  /// What handles, names and generations are counted by. A saved ruleset goes on from where it was:
  /// set between transactions; the next commit makes `generation` + 1.
  struct Numbers {
    std::uint64_t generation = 1;
    std::uint64_t table_handle = 0;
    std::uint64_t registration = 0;
    std::uint64_t chain_number = 0;
  };
  const Numbers& numbers() const { return numbers_; }
  void set_numbers(const Numbers& numbers) { numbers_ = numbers; }

  /// The moment for requests that depend on it (timeouts of set elements): CLOCK_BOOTTIME, unless a
  /// replay goes by its capture's clock and says what time it is.
  Time now() const { return replay_now_ == Time{} ? boot_time() : replay_now_; }
  void set_replay_now(Time now) { replay_now_ = now; }

  /// A number for a new chain, and back when it can't be referred to any more.
  ChainSlot take_slot();
  void give_slot(ChainSlot slot) { free_slots_.push_back(slot); }
  std::uint64_t next_registration() { return ++numbers_.registration; }
  /// For the names of binding chains.
  std::uint64_t next_chain_number() { return ++numbers_.chain_number; }

 private:
  void publish();

  struct Retired {
    std::uint64_t tag;
    std::shared_ptr<const void> what;
  };

  Epochs& epochs_;
  conntrack::Table* connections_ = nullptr;
  Numbers numbers_;
  std::shared_ptr<const CompiledRuleset> newest_;
  std::atomic<const CompiledRuleset*> running_;
  std::vector<Retired> retired_;
  Time replay_now_{};
  ChainSlot slot_count_ = 0;
  std::vector<ChainSlot> free_slots_;
};

// Steps of a transaction that reach across kinds. Each does its work on the model at once, and
// records how to undo it and what to tell listeners.

/// Deletes a set (set.cc) with all that its elements hold, or an object (object.cc), whatever its
/// use; the callers check.
void delete_set(Ruleset& ruleset, Transaction& transaction, Table& table, Set& set);
void delete_object(Ruleset& ruleset, Transaction& transaction, Table& table, Object& object);
/// Takes expired elements out of all sets, a bounded number at a time, and retires the memory of
/// removed ones (set.cc).
void collect_sets(Ruleset& ruleset);
/// Whether the set is anonymous and bound to a rule: it goes with that rule, not by itself.
bool is_bound_anonymous(const Set& set);

}  // namespace weir::rules
