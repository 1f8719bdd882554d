#include <algorithm>

#include "rules/compiled.h"

namespace weir::rules {

CompiledChain::CompiledChain(const Chain& chain)
    : table(chain.table->name),
      name(chain.name),
      family(chain.table->family),
      handle(chain.handle),
      is_base(chain.base.has_value()) {
  if (is_base) {
    base = {.type = chain.base->type,
            .policy = chain.base->policy,
            .counters = chain.counters,
            .devices = chain.base->devices};
  }
  for (const auto& [rule, is_shown] : chain.rules) {
    if (!is_shown) continue;
    kept_.push_back(rule);
    CompiledRule compiled{.first_op = static_cast<std::uint32_t>(ops.size()), .rule = rule.get()};
    for (const auto& expression : rule->expressions) {
      Op op;
      if (!expression->compile(op)) op = {.kind = Op::Kind::call, .expression = expression.get()};
      ops.push_back(op);
    }
    compiled.op_count = static_cast<std::uint32_t>(ops.size()) - compiled.first_op;
    rules.push_back(compiled);
  }
}

void CompiledRuleset::add(const Table& table, const Chain& chain) {
  if (chains_.size() <= chain.slot) chains_.resize(chain.slot + 1);
  chains_[chain.slot] = chain.compiled;
  if (chain.base && !table.is_dormant()) add_hooks(table, chain);
}

void CompiledRuleset::add_hooks(const Table& table, const Chain& chain) {
  const HookChain entry{.priority = chain.base->priority,
                        .registered = chain.base->registered,
                        .chain = chain.compiled.get()};
  const std::size_t hook = at(chain.base->hook);
  if (chain.base->hook == Hook::ingress) {
    filter_[0][hook].push_back(entry);
    return;
  }
  for (const Family family : {Family::ip, Family::ip6}) {
    if (table.family != family && table.family != Family::inet) continue;
    auto& hooks = chain.base->type == ChainType::nat ? nat_ : filter_;
    hooks[index(family)][hook].push_back(entry);
    if (chain.base->type == ChainType::route) has_route_chains_[index(family)] = true;
  }
}

void CompiledRuleset::sort() {
  // The kernel inserts a new chain before those of equal priority (nf_hook_entries_grow).
  const auto earlier = [](const HookChain& a, const HookChain& b) {
    return a.priority != b.priority ? a.priority < b.priority : a.registered > b.registered;
  };
  for (auto* families : {&filter_, &nat_}) {
    for (Hooks& hooks : *families) {
      for (auto& chains : hooks) std::ranges::sort(chains, earlier);
    }
  }
}

}  // namespace weir::rules
