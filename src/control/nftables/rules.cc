#include <cerrno>

#include "control/nftables/handlers.h"
#include "rules/edit.h"

namespace weir::control::nftables {
namespace {

constexpr std::size_t kUserdataMax = 256;
constexpr std::size_t kExpressionsMax = 128;   // NFT_RULE_MAXEXPRS.
constexpr std::uint16_t kRulePositionId = 10;  // NFTA_RULE_POSITION_ID.
constexpr std::uint16_t kRuleChainId = 11;     // NFTA_RULE_CHAIN_ID.

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_RULE_TABLE, .kind = netlink::Kind::string, .max_bytes = NFT_TABLE_MAXNAMELEN - 1},
    {.type = NFTA_RULE_CHAIN, .kind = netlink::Kind::string, .max_bytes = NFT_CHAIN_MAXNAMELEN - 1},
    {.type = NFTA_RULE_HANDLE, .kind = netlink::Kind::u64},
    {.type = NFTA_RULE_EXPRESSIONS, .kind = netlink::Kind::nested},
    {.type = NFTA_RULE_COMPAT, .kind = netlink::Kind::nested},
    {.type = NFTA_RULE_POSITION, .kind = netlink::Kind::u64},
    {.type = NFTA_RULE_USERDATA, .kind = netlink::Kind::binary, .max_bytes = kUserdataMax},
    {.type = NFTA_RULE_ID, .kind = netlink::Kind::u32},
    {.type = kRulePositionId, .kind = netlink::Kind::u32},
    {.type = kRuleChainId, .kind = netlink::Kind::u32},
};

Result<rules::Rule*> find_rule(const rules::Chain& chain, const netlink::Attributes& attributes,
                               std::uint16_t type) {
  rules::Rule* rule = chain.find_rule(attributes.be64(type).host());
  if (!rule) return std::unexpected(attributes.error(type, ENOENT, ""));
  return rule;
}

Result<rules::Chain*> find_rule_chain(Edit& edit, const rules::Table& table,
                                      const netlink::Attributes& attributes) {
  if (attributes.has(NFTA_RULE_CHAIN)) {
    auto chain = find_chain(table, attributes, NFTA_RULE_CHAIN);
    if (chain && (*chain)->is_bound && !edit.is_restored) {
      return std::unexpected(Error{EOPNOTSUPP, "the chain is bound to a rule"});
    }
    return chain;
  }
  if (!attributes.has(kRuleChainId)) return std::unexpected(attributes.missing(NFTA_RULE_CHAIN));
  rules::Chain* chain = edit.transaction.find_chain(table, attributes.be32(kRuleChainId).host());
  if (!chain) return std::unexpected(attributes.error(kRuleChainId, ENOENT, ""));
  return chain;
}

/// Where a NEWRULE goes: NLM_F_REPLACE with a handle, or NLM_F_APPEND or not, next to a position or
/// not.
Result<rules::RulePlace> find_place(Edit& edit, rules::Chain& chain,
                                    const netlink::Attributes& attributes) {
  using Where = rules::RulePlace::Where;
  if (attributes.has(NFTA_RULE_HANDLE)) {
    const auto rule = find_rule(chain, attributes, NFTA_RULE_HANDLE);
    if (!rule) return std::unexpected(rule.error());
    if (edit.has(NLM_F_EXCL)) {
      return std::unexpected(attributes.error(NFTA_RULE_HANDLE, EEXIST, ""));
    }
    if (!edit.has(NLM_F_REPLACE)) {
      return std::unexpected(Error{EOPNOTSUPP, "a rule that exists can only be replaced"});
    }
    return rules::RulePlace{.where = Where::replace, .anchor = *rule};
  }
  if (!edit.has(NLM_F_CREATE) || edit.has(NLM_F_REPLACE)) {
    return std::unexpected(Error{EINVAL, "the request names no rule"});
  }
  rules::Rule* anchor = nullptr;
  if (attributes.has(NFTA_RULE_POSITION)) {
    const auto rule = find_rule(chain, attributes, NFTA_RULE_POSITION);
    if (!rule) return std::unexpected(rule.error());
    anchor = *rule;
  } else if (attributes.has(kRulePositionId)) {
    anchor = edit.transaction.find_rule(chain, attributes.be32(kRulePositionId).host());
    if (!anchor) return std::unexpected(attributes.error(kRulePositionId, ENOENT, ""));
  }
  const bool appends = edit.has(NLM_F_APPEND);
  if (!anchor) return rules::RulePlace{.where = appends ? Where::last : Where::first};
  return rules::RulePlace{.where = appends ? Where::after : Where::before, .anchor = anchor};
}

Result<std::shared_ptr<rules::Rule>> parse_rule(const netlink::Attributes& attributes,
                                                rules::ParseContext& context,
                                                std::uint64_t handle) {
  auto rule = std::make_shared<rules::Rule>();
  rule->handle = handle;
  for (const netlink::Attribute& nest : attributes.nested(NFTA_RULE_EXPRESSIONS)) {
    if (nest.type() != NFTA_LIST_ELEM) {
      return std::unexpected(nest.error(EINVAL, "not an expression"));
    }
    if (rule->expressions.size() == kExpressionsMax) {
      return std::unexpected(nest.error(EINVAL, "a rule of more than 128 expressions"));
    }
    auto expression = rules::parse_expression(nest, context);
    if (!expression) {
      // The whole expression is to blame, not the attribute within: nft knows the places of
      // expressions.
      Error error = expression.error();
      error.offset = nest.offset();
      return std::unexpected(std::move(error));
    }
    rule->expressions.push_back(std::move(*expression));
  }
  const Bytes userdata = attributes.raw(NFTA_RULE_USERDATA);
  rule->userdata.assign(userdata.begin(), userdata.end());
  return rule;
}

void delete_all(Edit& edit, rules::Chain& chain) {
  std::vector<rules::Rule*> rules;
  chain.for_each_rule([&](rules::Rule& rule) { rules.push_back(&rule); });
  for (rules::Rule* rule : rules) rules::delete_rule(edit.ruleset, edit.transaction, *rule);
}

Result<void> delete_in_chain(Edit& edit, rules::Chain& chain,
                             const netlink::Attributes& attributes) {
  if (attributes.has(NFTA_RULE_HANDLE)) {
    const auto rule = find_rule(chain, attributes, NFTA_RULE_HANDLE);
    if (!rule) {
      if (forgives(edit, rule.error())) return {};
      return std::unexpected(rule.error());
    }
    rules::delete_rule(edit.ruleset, edit.transaction, **rule);
    return {};
  }
  if (attributes.has(NFTA_RULE_ID)) {
    rules::Rule* rule = edit.transaction.find_rule(chain, attributes.be32(NFTA_RULE_ID).host());
    if (!rule) return std::unexpected(attributes.error(NFTA_RULE_ID, ENOENT, ""));
    rules::delete_rule(edit.ruleset, edit.transaction, *rule);
    return {};
  }
  delete_all(edit, chain);
  return {};
}

/// One rule of a dump, and what has to live as long.
struct Item {
  std::shared_ptr<const rules::Table> table;
  std::shared_ptr<const rules::Chain> chain;
  std::shared_ptr<const rules::Rule> rule;
  std::uint64_t previous = 0;
};

void list_chain(const rules::Ruleset& ruleset, const rules::Chain& chain,
                std::vector<Item>& items) {
  const auto table = ruleset.tables.share(*chain.table);
  const auto shared = chain.table->chains.share(chain);
  std::uint64_t previous = 0;
  for (const auto& [rule, is_shown] : chain.rules) {
    if (!is_shown) continue;
    items.push_back({.table = table, .chain = shared, .rule = rule, .previous = previous});
    previous = rule->handle;
  }
}

std::vector<Item> list_rules(Query& query, const netlink::Attributes& attributes) {
  std::vector<Item> items;
  query.ruleset.tables.for_each([&](const rules::Table& table) {
    if (query.family() != rules::Family::unspec && table.family != query.family()) return;
    if (attributes.has(NFTA_RULE_TABLE) && table.name != attributes.string(NFTA_RULE_TABLE)) return;
    table.chains.for_each([&](const rules::Chain& chain) {
      if (attributes.has(NFTA_RULE_CHAIN) && chain.name != attributes.string(NFTA_RULE_CHAIN))
        return;
      list_chain(query.ruleset, chain, items);
    });
  });
  return items;
}

}  // namespace

void write_rule(netlink::Writer& writer, const Heading& heading, const rules::Chain& chain,
                const rules::Rule& rule, std::uint64_t previous, rules::DumpMode mode) {
  writer.begin(start_of(heading, chain.table->family));
  writer.put_string(NFTA_RULE_TABLE, chain.table->name);
  writer.put_string(NFTA_RULE_CHAIN, chain.name);
  if (!heading.is_saved) writer.put_be64(NFTA_RULE_HANDLE, rule.handle);
  if (heading.message != NFT_MSG_DELRULE && previous != 0) {
    writer.put_be64(NFTA_RULE_POSITION, previous);
  }
  {
    const auto list = writer.nest_plain(NFTA_RULE_EXPRESSIONS);
    for (const auto& expression : rule.expressions) {
      const auto nest = writer.nest_plain(NFTA_LIST_ELEM);
      rules::write_expression(writer, *expression, mode);
    }
  }
  if (!rule.userdata.empty()) writer.put(NFTA_RULE_USERDATA, rule.userdata);
  writer.end();
}

Result<void> new_rule(Edit& edit) {
  const auto attributes = netlink::Attributes::parse(edit.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const auto table = find_table(edit.ruleset, *attributes, NFTA_RULE_TABLE, edit.family());
  if (!table) return std::unexpected(table.error());
  const auto chain = find_rule_chain(edit, **table, *attributes);
  if (!chain) return std::unexpected(chain.error());
  const auto place = find_place(edit, **chain, *attributes);
  if (!place) return std::unexpected(place.error());

  rules::ParseContext context{
      .ruleset = edit.ruleset, .transaction = edit.transaction, .table = **table, .chain = *chain};
  // As in the kernel, a rule that is refused for its expressions has used up a handle.
  const bool replaces = place->where == rules::RulePlace::Where::replace;
  const std::uint64_t handle = replaces ? place->anchor->handle : (*table)->next_handle();
  auto rule = parse_rule(*attributes, context, handle);
  if (!rule) return std::unexpected(rule.error());
  rules::Rule& added =
      rules::add_rule(edit.ruleset, edit.transaction, **chain, std::move(*rule), *place);
  if (attributes->has(NFTA_RULE_ID)) {
    edit.transaction.name_rule(**chain, attributes->be32(NFTA_RULE_ID).host(), added);
  }
  return {};
}

Result<void> delete_rule(Edit& edit) {
  const auto attributes = netlink::Attributes::parse(edit.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const auto table = find_table(edit.ruleset, *attributes, NFTA_RULE_TABLE, edit.family());
  if (!table) {
    if (forgives(edit, table.error())) return {};
    return std::unexpected(table.error());
  }
  if (attributes->has(NFTA_RULE_CHAIN)) {
    const auto chain = find_chain(**table, *attributes, NFTA_RULE_CHAIN);
    if (!chain) {
      if (forgives(edit, chain.error())) return {};
      return std::unexpected(chain.error());
    }
    if ((*chain)->is_binding()) {
      return std::unexpected(Error{EOPNOTSUPP, "the chain is bound to a rule"});
    }
    return delete_in_chain(edit, **chain, *attributes);
  }
  (*table)->chains.for_each([&](rules::Chain& chain) {
    if (!chain.is_binding()) delete_all(edit, chain);
  });
  return {};
}

Result<void> get_rules(Query& query) {
  const auto attributes = netlink::Attributes::parse(query.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const rules::DumpMode mode = query.mode();
  if (query.request.is_dump()) {
    Heading heading = query.heading(NFT_MSG_NEWRULE, NLM_F_APPEND);
    return start_list_dump(query, list_rules(query, *attributes),
                           [heading, mode](netlink::Writer& writer, const Item& item,
                                           std::uint64_t generation) mutable {
                             heading.generation = generation;
                             write_rule(writer, heading, *item.chain, *item.rule, item.previous,
                                        mode);
                           });
  }
  const auto table = find_table(query.ruleset, *attributes, NFTA_RULE_TABLE, query.family());
  if (!table) return std::unexpected(table.error());
  const auto chain = find_chain(**table, *attributes, NFTA_RULE_CHAIN);
  if (!chain) return std::unexpected(chain.error());
  const auto rule = find_rule(**chain, *attributes, NFTA_RULE_HANDLE);
  if (!rule) return std::unexpected(rule.error());
  write_rule(query.reply.writer(), query.heading(NFT_MSG_NEWRULE), **chain, **rule, 0, mode);
  return {};
}

}  // namespace weir::control::nftables
