#include <linux/netfilter/nf_tables.h>

#include "rules/edit.h"

namespace weir::rules {
namespace {

class TableAdded final : public Change {
 public:
  TableAdded(Ruleset& ruleset, Table& table) : ruleset_(ruleset), table_(table) {}
  void commit() override {}
  void undo() override { ruleset_.tables.erase(table_); }

 private:
  Ruleset& ruleset_;
  Table& table_;
};

class TableDeleted final : public Change {
 public:
  TableDeleted(Ruleset& ruleset, Table& table) : ruleset_(ruleset), table_(table) {}
  void commit() override {}
  void undo() override { ruleset_.tables.show(table_); }

 private:
  Ruleset& ruleset_;
  Table& table_;
};

class TableFlagged final : public Change {
 public:
  TableFlagged(Table& table, std::uint32_t before) : table_(table), before_(before) {}
  void commit() override {}
  void undo() override { table_.flags = before_; }

 private:
  Table& table_;
  std::uint32_t before_;
};

/// A collection can't be walked while it loses members: first list, then delete.
template <typename List>
auto members(const List& list) {
  std::vector<std::remove_pointer_t<decltype(list.find(""))>*> found;
  list.for_each([&](auto& item) { found.push_back(&item); });
  return found;
}

}  // namespace

Table& add_table(Ruleset& ruleset, Transaction& transaction, std::shared_ptr<Table> table) {
  Table& added = *table;
  added.handle = ruleset.next_table_handle();
  ruleset.tables.add(table);
  transaction.record<TableAdded>(ruleset, added);
  transaction.notify({.message = NFT_MSG_NEWTABLE, .table = std::move(table)});
  return added;
}

void set_table_flags(Ruleset& ruleset, Transaction& transaction, Table& table,
                     std::uint32_t flags) {
  if (table.flags == flags) return;
  transaction.record<TableFlagged>(table, table.flags);
  const bool wakes = table.is_dormant() && !(flags & NFT_TABLE_F_DORMANT);
  table.flags = flags;
  transaction.notify({.message = NFT_MSG_NEWTABLE, .table = ruleset.tables.share(table)});
  if (wakes) {
    // Its chains register again, so they now come before others of their priority.
    table.chains.for_each([&](Chain& chain) {
      if (chain.base) chain.base->registered = ruleset.next_registration();
    });
  }
}

void delete_table(Ruleset& ruleset, Transaction& transaction, Table& table) {
  const auto chains = members(table.chains);
  for (Chain* chain : chains) {
    if (chain->is_binding()) continue;
    std::vector<Rule*> rules;
    chain->for_each_rule([&](Rule& rule) { rules.push_back(&rule); });
    for (Rule* rule : rules) delete_rule(ruleset, transaction, *rule);
  }
  for (Set* set : members(table.sets)) {
    if (!is_bound_anonymous(*set)) delete_set(ruleset, transaction, table, *set);
  }
  for (Object* object : members(table.objects)) {
    delete_object(ruleset, transaction, table, *object);
  }
  for (Chain* chain : chains) {
    // A binding chain went with the rule that was bound to it. Nothing can refer to the others any
    // more.
    if (table.chains.is_shown(*chain)) (void)delete_chain(ruleset, transaction, *chain);
  }
  auto shared = ruleset.tables.share(table);
  ruleset.tables.hide(table);
  transaction.record<TableDeleted>(ruleset, table);
  transaction.notify({.message = NFT_MSG_DELTABLE, .table = std::move(shared)});
}

}  // namespace weir::rules
