#include "rules/ruleset.h"

#include <linux/netfilter/nf_tables.h>

#include <cerrno>
#include <map>

#include "rules/compiled.h"

namespace weir::rules {
namespace {

constexpr unsigned kDepthMax = 16;  // NFT_JUMP_STACK_SIZE.

/// Follows everything that one base chain leads to. A chain that was walked at the same or a
/// greater depth is not walked again, so the work is bounded by chains times depth however often
/// they refer to each other.
class Walk final : public Validation {
 public:
  explicit Walk(const Chain& start) {
    family = start.table->family;
    base = &start;
    type = start.base->type;
    hooks = hook_bit(start.base->hook);
  }

  Result<void> enter(const Chain& chain) override {
    if (depth_ == kDepthMax) {
      return std::unexpected(Error{EMLINK, "chains jump in a loop, or more than 16 deep"});
    }
    auto& walked_at = walked_[&chain];
    if (walked_at > depth_) return {};
    walked_at = depth_ + 1;

    ++depth_;
    for (const auto& [rule, is_shown] : chain.rules) {
      if (!is_shown) continue;
      for (const auto& expression : rule->expressions) {
        if (auto result = expression->validate(*this); !result) return result;
      }
    }
    --depth_;
    return {};
  }

 private:
  unsigned depth_ = 0;
  std::map<const Chain*, unsigned> walked_;  // The depth that it was walked at, plus one.
};

}  // namespace

Table::Table() = default;
Table::~Table() = default;

bool Table::is_dormant() const { return flags & NFT_TABLE_F_DORMANT; }

bool Chain::is_binding() const { return flags & NFT_CHAIN_BINDING; }

Rule* Chain::find_rule(std::uint64_t rule_handle) const {
  const auto at = rules_by_handle.find(rule_handle);
  return at == rules_by_handle.end() ? nullptr : at->second;
}

void Rule::hold() {
  for (const auto& expression : expressions) expression->hold();
}

void Rule::release() {
  for (const auto& expression : expressions) expression->release();
}

Ruleset::Ruleset(Epochs& epochs)
    : epochs_(epochs),
      newest_(std::make_shared<CompiledRuleset>(numbers_.generation)),
      running_(newest_.get()) {}

Ruleset::~Ruleset() = default;

ChainSlot Ruleset::take_slot() {
  if (free_slots_.empty()) return slot_count_++;
  const ChainSlot slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

Result<void> Ruleset::validate(Transaction& transaction) const {
  Result<void> result;
  for (const Table* table : transaction.validated_) {
    if (!tables.is_shown(*table)) continue;
    table->chains.for_each([&](const Chain& chain) {
      if (!result || !chain.base) return;
      result = Walk(chain).enter(chain);
    });
    if (!result) return result;
  }
  return result;
}

Result<void> Ruleset::commit(Transaction& transaction) {
  if (auto valid = validate(transaction); !valid) {
    abort(transaction);
    return valid;
  }
  if (transaction.is_empty()) {
    abort(transaction);
    return {};
  }
  ++numbers_.generation;
  for (const auto& change : transaction.changes_) change->prepare();
  publish();
  for (const auto& change : transaction.changes_) change->commit();
  transaction.changes_.clear();
  tables.for_each([this](Table& table) {
    table.chains.purge([this](Chain& chain) { give_slot(chain.slot); });
    table.sets.purge();
    table.objects.purge();
  });
  tables.purge([this](Table& table) {
    table.chains.purge([this](Chain& chain) { give_slot(chain.slot); });
  });
  collect();
  return {};
}

void Ruleset::abort(Transaction& transaction) {
  for (auto at = transaction.changes_.rbegin(); at != transaction.changes_.rend(); ++at) {
    (*at)->undo();
  }
  transaction.changes_.clear();
}

void Ruleset::publish() {
  auto next = std::make_shared<CompiledRuleset>(numbers_.generation);
  tables.for_each([&](Table& table) {
    table.chains.for_each([&](Chain& chain) {
      if (!chain.compiled) chain.compiled = std::make_shared<CompiledChain>(chain);
      next->add(table, chain);
    });
  });
  next->sort();
  running_.store(next.get(), std::memory_order_release);
  retire(std::exchange(newest_, std::move(next)));
}

void Ruleset::retire(std::shared_ptr<const void> unlinked) {
  retired_.push_back({epochs_.advance(), std::move(unlinked)});
}

void Ruleset::collect() {
  std::erase_if(retired_, [&](const Retired& each) { return epochs_.reached(each.tag); });
  collect_sets(*this);
}

}  // namespace weir::rules
