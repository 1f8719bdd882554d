#pragma once

#include <array>
#include <cstdint>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/error.h"
#include "rules/expression.h"
#include "rules/hook.h"
#include "rules/named_list.h"
#include "rules/transaction.h"
#include "rules/verdict.h"

namespace weir::rules {

class Object;
class Set;

/// A rule: its expressions and what its owner wrote beside them. Constant once made; replacing makes a new one.
class Rule {
 public:
  std::uint64_t handle = 0;
  Chain* chain = nullptr;
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
  bool has_device_list = false;      // Given as NFTA_HOOK_DEVS, so it is dumped as such.
  /// Position among base chains of equal priority: registered earlier, run earlier.
  std::uint64_t registered = 0;
};

/// Packets and bytes of a base chain that nobody's rules decided on (NFTA_CHAIN_COUNTERS); null until asked for.
struct ChainCounters;

/// A chain. The object keeps its identity while its rules change; jumps name it by its slot.
class Chain {
 public:
  std::string name;
  std::uint64_t handle = 0;
  Table* table = nullptr;
  ChainSlot slot = 0;
  std::uint32_t use = 0;      // Rules in it plus verdicts that lead to it; nonzero refuses deletion with EBUSY.
  std::uint32_t flags = 0;    // NFT_CHAIN_*.
  std::optional<BaseChain> base;
  std::shared_ptr<ChainCounters> counters;
  std::vector<std::uint8_t> userdata;
  bool is_bound = false;      // A binding chain whose rule has been added.

  /// The rules in order. `bool`: is shown; deleted ones stay in place until the commit.
  std::list<std::pair<std::shared_ptr<Rule>, bool>> rules;
  using RuleAt = decltype(rules)::iterator;
  std::unordered_map<std::uint64_t, RuleAt> rules_by_handle;

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

/// A table: a name space for chains, sets and objects of one family.
class Table {
 public:
  Table();
  ~Table();

  std::string name;
  std::uint64_t handle = 0;
  Family family = Family::unspec;
  std::uint32_t flags = 0;        // NFT_TABLE_F_*.
  std::uint32_t owner = 0;        // Netlink port of the owner when NFT_TABLE_F_OWNER is set.
  std::uint32_t use = 0;          // Chains, sets, objects and flowtables in it (NFTA_TABLE_USE).
  std::uint64_t last_handle = 0;  // Handles of chains, sets, objects and rules come from one counter.
  std::vector<std::uint8_t> userdata;

  NamedList<Chain> chains;
  NamedList<Set> sets;
  /// Named objects may share a name when their types differ: see object.h for the key.
  NamedList<Object> objects;

  std::uint64_t next_handle() { return ++last_handle; }
  bool is_dormant() const;
};

/// The names of the things that a request speaks of.
struct TableKey {
  Family family = Family::unspec;
  std::string_view name;
};

}  // namespace weir::rules
