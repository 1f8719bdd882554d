#include "rules/transaction.h"

#include <algorithm>

#include "rules/ruleset.h"

namespace weir::rules {
namespace {

template <typename Map, typename Owner>
auto find(const Map& map, const Owner& owner, std::uint32_t id) -> Map::mapped_type {
  const auto at = map.find({&owner, id});
  return at == map.end() ? nullptr : at->second;
}

}  // namespace

Set* Transaction::find_set(const Table& table, std::uint32_t id) const {
  return find(sets_, table, id);
}

Chain* Transaction::find_chain(const Table& table, std::uint32_t id) const {
  Chain* chain = find(chains_, table, id);
  return chain && table.chains.is_shown(*chain) ? chain : nullptr;
}

Rule* Transaction::find_rule(const Chain& chain, std::uint32_t id) const {
  Rule* rule = find(rules_, chain, id);
  return rule && chain.find_rule(rule->handle) == rule ? rule : nullptr;
}

bool Transaction::is_empty() const {
  return std::ranges::all_of(changes_, [](const auto& change) { return change->is_idle(); });
}

void Transaction::touch(Chain& chain) { chain.compiled.reset(); }

void Transaction::validate(Table& table) {
  if (!validated_.empty() && validated_.back() == &table) return;
  if (std::ranges::find(validated_, &table) == validated_.end()) validated_.push_back(&table);
}

}  // namespace weir::rules
