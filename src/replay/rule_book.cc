#include "replay/rule_book.h"

#include <fmt/format.h>

#include <string_view>

namespace weir::replay {
namespace {

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") + 1 - first);
}

std::string key_of(std::string_view table, std::uint64_t handle) {
  return fmt::format("{} {}", table, handle);
}

constexpr std::string_view kHandle = "# handle ";

}  // namespace

std::unordered_map<std::string, std::string> texts_by_handle(const std::string& listing) {
  std::unordered_map<std::string, std::string> texts;
  std::string table;  // "inet gateway"
  std::string_view rest = listing;
  while (!rest.empty()) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));

    const std::size_t mark = line.rfind(kHandle);
    if (line.starts_with("table ")) {
      table = trimmed(line.substr(6, line.find(" {") - 6));
    } else if (mark != std::string_view::npos) {
      texts[table + " " + std::string(trimmed(line.substr(mark + kHandle.size())))] =
          trimmed(line.substr(0, mark));
    }
  }
  return texts;
}

RuleBook::RuleBook(const rules::Ruleset& ruleset, const std::string& listing) {
  const auto texts = texts_by_handle(listing);
  ruleset.tables.for_each([&](const rules::Table& table) {
    const std::string table_name = fmt::format("{} {}", rules::name_of(table.family), table.name);
    table.chains.for_each([&](const rules::Chain& chain) {
      ChainLine line;
      line.family = rules::name_of(table.family);
      line.table = table.name;
      line.name = chain.name;
      if (chain.base) {
        line.is_base = true;
        line.hook = rules::name_of(chain.base->hook);
        line.policy = chain.base->policy == rules::VerdictCode::drop ? "drop" : "accept";
      }
      chain.for_each_rule([&](const rules::Rule& rule) {
        rule_places_[&rule] = {chains_.size(), line.rules.size()};
        const auto text = texts.find(key_of(table_name, rule.handle));
        line.rules.push_back({.handle = rule.handle,
                              .text = text != texts.end()
                                          ? text->second
                                          : fmt::format("rule with handle {}", rule.handle),
                              .matched = {}});
      });
      if (chain.compiled) chain_places_[chain.compiled.get()] = chains_.size();
      chains_.push_back(std::move(line));
    });
  });
}

RuleLine* RuleBook::find(const rules::Rule& rule) {
  const auto at = rule_places_.find(&rule);
  return at == rule_places_.end() ? nullptr : &chains_[at->second.chain].rules[at->second.rule];
}

ChainLine* RuleBook::find(const rules::CompiledChain& chain) {
  const auto at = chain_places_.find(&chain);
  return at == chain_places_.end() ? nullptr : &chains_[at->second];
}

}  // namespace weir::replay
