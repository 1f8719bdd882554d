#include <linux/netfilter/nf_tables.h>

#include "rules/edit.h"
#include "rules/set.h"

namespace weir::rules {
namespace {

/// Takes a shown rule out of what look-ups find, and gives back what it refers to.
void hide(Rule& rule) {
  rule.at->second = false;
  rule.chain->rules_by_handle.erase(rule.handle);
  rule.chain->compiled.reset();
  --rule.chain->use;
  // When the rule that a binding chain belongs to has been taken back, it has taken the chain and
  // its rules with it.
  if (rule.chain->table->chains.is_shown(*rule.chain)) rule.release();
}

void show(Rule& rule) {
  rule.at->second = true;
  rule.chain->rules_by_handle[rule.handle] = &rule;
  rule.chain->compiled.reset();
  ++rule.chain->use;
  rule.hold();
}

class RuleAdded final : public Change {
 public:
  explicit RuleAdded(Rule& rule) : rule_(rule) {}
  void commit() override {}
  void undo() override {
    hide(rule_);
    rule_.chain->rules.erase(rule_.at);
  }

 private:
  Rule& rule_;
};

class RuleDeleted final : public Change {
 public:
  explicit RuleDeleted(Rule& rule) : rule_(rule) {}
  void commit() override { rule_.chain->rules.erase(rule_.at); }
  void undo() override { show(rule_); }

 private:
  Rule& rule_;
};

decltype(Rule::at) place_of(Chain& chain, const RulePlace& place) {
  switch (place.where) {
    case RulePlace::Where::first:
      return chain.rules.begin();
    case RulePlace::Where::last:
      return chain.rules.end();
    case RulePlace::Where::before:
    case RulePlace::Where::replace:
      return place.anchor->at;
    case RulePlace::Where::after:
      return std::next(place.anchor->at);
  }
  return chain.rules.end();
}

void notify(Transaction& transaction, std::uint8_t message, Ruleset& ruleset, Rule& rule) {
  const Chain& chain = *rule.chain;
  transaction.notify({.message = message,
                      .table = ruleset.tables.share(*chain.table),
                      .chain = chain.table->chains.share(chain),
                      .rule = rule.at->first});
}

/// Anonymous sets that were the rule's alone have gone with it.
void notify_of_lost_sets(Transaction& transaction, Ruleset& ruleset, const Rule& rule) {
  const Table& table = *rule.chain->table;
  for (const auto& expression : rule.expressions) {
    const Set* const set = expression->bound_set();
    if (!set || !set->is_anonymous() || table.sets.is_shown(*set)) continue;
    Notice notice{.message = NFT_MSG_DELSET};
    notice.table = ruleset.tables.share(table);
    notice.set = table.sets.share(*set);
    transaction.notify(std::move(notice));
  }
}

}  // namespace

Rule& add_rule(Ruleset& ruleset, Transaction& transaction, Chain& chain, std::shared_ptr<Rule> rule,
               const RulePlace& place) {
  Rule& added = *rule;
  added.chain = &chain;
  if (place.where == RulePlace::Where::replace) delete_rule(ruleset, transaction, *place.anchor);
  added.at = chain.rules.emplace(place_of(chain, place), std::move(rule), false);
  show(added);
  transaction.record<RuleAdded>(added);
  transaction.validate(*chain.table);
  notify(transaction, NFT_MSG_NEWRULE, ruleset, added);
  return added;
}

void delete_rule(Ruleset& ruleset, Transaction& transaction, Rule& rule) {
  notify(transaction, NFT_MSG_DELRULE, ruleset, rule);
  hide(rule);
  transaction.record<RuleDeleted>(rule);
  notify_of_lost_sets(transaction, ruleset, rule);
}

}  // namespace weir::rules
