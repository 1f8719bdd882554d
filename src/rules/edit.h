#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "rules/ruleset.h"

/// The steps of a transaction on tables, chains and rules: each changes the model at once, and
/// records how to undo it and what to tell listeners. What a request may do is checked by its
/// handler (control/nftables); what would break the model is refused here.
namespace weir::rules {

/// Lists a new table and allots its handle. The name must be free.
Table& add_table(Ruleset& ruleset, Transaction& transaction, std::shared_ptr<Table> table);
/// Changes NFT_TABLE_F_DORMANT: the base chains of a dormant table see no packets.
void set_table_flags(Ruleset& ruleset, Transaction& transaction, Table& table, std::uint32_t flags);
/// Deletes a table and all in it, in the kernel's order (rules, sets, objects, chains, table).
void delete_table(Ruleset& ruleset, Transaction& transaction, Table& table);

/// Lists a new chain, allots handle and slot, and registers a base chain. The name must be free.
Chain& add_chain(Ruleset& ruleset, Transaction& transaction, Table& table,
                 std::shared_ptr<Chain> chain);
/// What NEWCHAIN may change of a chain that exists.
struct ChainUpdate {
  std::optional<VerdictCode> policy;
  std::shared_ptr<ChainCounters> counters;  // Null: as they are.
  std::string new_name;                     // Empty: as it is.
};
void update_chain(Ruleset& ruleset, Transaction& transaction, Chain& chain, ChainUpdate update);
/// Deletes a chain with its rules. Errors: EBUSY when jumps or set elements lead to it.
Result<void> delete_chain(Ruleset& ruleset, Transaction& transaction, Chain& chain);

/// Where a new rule goes.
struct RulePlace {
  enum class Where : std::uint8_t { first, last, before, after, replace };
  Where where = Where::last;
  Rule* anchor = nullptr;  // before, after, replace.
};
/// Puts a rule, whose handle is set, into its chain and takes what it refers to. Replacing deletes
/// the anchor and takes over its place; the handle has to be the anchor's then.
Rule& add_rule(Ruleset& ruleset, Transaction& transaction, Chain& chain, std::shared_ptr<Rule> rule,
               const RulePlace& place);
void delete_rule(Ruleset& ruleset, Transaction& transaction, Rule& rule);

}  // namespace weir::rules
