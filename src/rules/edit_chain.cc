#include <linux/netfilter/nf_tables.h>

#include <cerrno>

#include "rules/edit.h"

namespace weir::rules {
namespace {

class ChainAdded final : public Change {
 public:
  ChainAdded(Ruleset& ruleset, Chain& chain) : ruleset_(ruleset), chain_(chain) {}
  void commit() override {}
  void undo() override {
    if (chain_.table->chains.is_shown(chain_)) --chain_.table->use;
    ruleset_.give_slot(chain_.slot);
    chain_.table->chains.erase(chain_);
  }

 private:
  Ruleset& ruleset_;
  Chain& chain_;
};

class ChainDeleted final : public Change {
 public:
  explicit ChainDeleted(Chain& chain) : chain_(chain) {}
  void commit() override {}
  void undo() override {
    ++chain_.table->use;
    chain_.table->chains.show(chain_);
  }

 private:
  Chain& chain_;
};

class ChainUpdated final : public Change {
 public:
  explicit ChainUpdated(Chain& chain)
      : chain_(chain), name_(chain.name), base_(chain.base), counters_(chain.counters) {}
  void commit() override {}
  void undo() override {
    chain_.table->chains.hide(chain_);
    chain_.name = name_;
    chain_.base = base_;
    chain_.counters = counters_;
    chain_.table->chains.show(chain_);
    chain_.compiled.reset();
  }

 private:
  Chain& chain_;
  std::string name_;
  std::optional<BaseChain> base_;
  std::shared_ptr<ChainCounters> counters_;
};

void notify(Transaction& transaction, std::uint8_t message, Ruleset& ruleset, const Chain& chain) {
  transaction.notify({.message = message,
                      .table = ruleset.tables.share(*chain.table),
                      .chain = chain.table->chains.share(chain)});
}

}  // namespace

Chain& add_chain(Ruleset& ruleset, Transaction& transaction, Table& table,
                 std::shared_ptr<Chain> chain) {
  Chain& added = *chain;
  added.table = &table;
  added.handle = table.next_handle();
  added.slot = ruleset.take_slot();
  if (added.base) added.base->registered = ruleset.next_registration();
  table.chains.add(std::move(chain));
  ++table.use;
  transaction.record<ChainAdded>(ruleset, added);
  notify(transaction, NFT_MSG_NEWCHAIN, ruleset, added);
  return added;
}

void update_chain(Ruleset& ruleset, Transaction& transaction, Chain& chain, ChainUpdate update) {
  transaction.record<ChainUpdated>(chain);
  if (update.policy) chain.base->policy = *update.policy;
  if (update.counters) chain.counters = std::move(update.counters);
  if (!update.new_name.empty()) {
    chain.table->chains.hide(chain);
    chain.name = std::move(update.new_name);
    chain.table->chains.show(chain);
  }
  transaction.touch(chain);
  notify(transaction, NFT_MSG_NEWCHAIN, ruleset, chain);
}

Result<void> delete_chain(Ruleset& ruleset, Transaction& transaction, Chain& chain) {
  std::vector<Rule*> rules;
  chain.for_each_rule([&](Rule& rule) { rules.push_back(&rule); });
  for (Rule* rule : rules) delete_rule(ruleset, transaction, *rule);
  if (chain.use > 0) {
    return std::unexpected(Error{EBUSY, "rules or set elements still lead to the chain"});
  }
  notify(transaction, NFT_MSG_DELCHAIN, ruleset, chain);
  --chain.table->use;
  chain.table->chains.hide(chain);
  transaction.record<ChainDeleted>(chain);
  return {};
}

}  // namespace weir::rules
