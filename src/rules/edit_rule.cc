#include <linux/netfilter/nf_tables.h>

#include "rules/edit.h"

namespace weir::rules {
namespace {

class RuleAdded final : public Change {
 public:
  explicit RuleAdded(Rule& rule) : rule_(rule) {}
  void commit() override {}
  void undo() override {
    Chain& chain = *rule_.chain;
    rule_.release();
    --chain.use;
    chain.compiled.reset();
    const auto found = chain.rules_by_handle.find(rule_.handle);
    const auto at = found->second;
    chain.rules_by_handle.erase(found);
    chain.rules.erase(at);
  }

 private:
  Rule& rule_;
};

class RuleDeleted final : public Change {
 public:
  explicit RuleDeleted(Rule& rule) : rule_(rule) {}
  void commit() override {
    Chain& chain = *rule_.chain;
    const auto found = chain.rules_by_handle.find(rule_.handle);
    const auto at = found->second;
    chain.rules_by_handle.erase(found);
    chain.rules.erase(at);
  }
  void undo() override {
    Chain& chain = *rule_.chain;
    chain.rules_by_handle.at(rule_.handle)->second = true;
    ++chain.use;
    chain.compiled.reset();
    rule_.hold();
  }

 private:
  Rule& rule_;
};

Chain::RuleAt place_of(Chain& chain, const RulePlace& place) {
  switch (place.where) {
    case RulePlace::Where::first: return chain.rules.begin();
    case RulePlace::Where::last: return chain.rules.end();
    case RulePlace::Where::before: return chain.rules_by_handle.at(place.anchor->handle);
    case RulePlace::Where::after:
    case RulePlace::Where::replace:
      return std::next(chain.rules_by_handle.at(place.anchor->handle));
  }
  return chain.rules.end();
}

void notify(Transaction& transaction, std::uint8_t message, Ruleset& ruleset, Rule& rule) {
  const Chain& chain = *rule.chain;
  transaction.notify({.message = message,
                      .table = ruleset.tables.share(*chain.table),
                      .chain = chain.table->chains.share(chain),
                      .rule = chain.rules_by_handle.at(rule.handle)->first});
}

}  // namespace

Rule& add_rule(Ruleset& ruleset, Transaction& transaction, Chain& chain, std::shared_ptr<Rule> rule,
               const RulePlace& place) {
  Rule& added = *rule;
  added.chain = &chain;
  added.handle = chain.table->next_handle();
  const auto at = chain.rules.emplace(place_of(chain, place), std::move(rule), true);
  chain.rules_by_handle[added.handle] = at;
  added.hold();
  ++chain.use;
  transaction.record<RuleAdded>(added);
  transaction.touch(chain);
  transaction.validate(*chain.table);
  notify(transaction, NFT_MSG_NEWRULE, ruleset, added);
  if (place.where == RulePlace::Where::replace) delete_rule(ruleset, transaction, *place.anchor);
  return added;
}

void delete_rule(Ruleset& ruleset, Transaction& transaction, Rule& rule) {
  Chain& chain = *rule.chain;
  notify(transaction, NFT_MSG_DELRULE, ruleset, rule);
  chain.rules_by_handle.at(rule.handle)->second = false;
  --chain.use;
  rule.release();
  transaction.record<RuleDeleted>(rule);
  transaction.touch(chain);
}

}  // namespace weir::rules
