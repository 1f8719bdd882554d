#include <cerrno>

#include "control/nftables/chain_hook.h"
#include "control/nftables/handlers.h"
#include "rules/edit.h"

namespace weir::control::nftables {
namespace {

constexpr std::size_t kUserdataMax = 256;
constexpr std::uint32_t kKnownFlags = NFT_CHAIN_BASE | NFT_CHAIN_HW_OFFLOAD | NFT_CHAIN_BINDING;

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_CHAIN_TABLE,
     .kind = netlink::Kind::string,
     .max_bytes = NFT_TABLE_MAXNAMELEN - 1},
    {.type = NFTA_CHAIN_HANDLE, .kind = netlink::Kind::u64},
    {.type = NFTA_CHAIN_NAME, .kind = netlink::Kind::string, .max_bytes = NFT_CHAIN_MAXNAMELEN - 1},
    {.type = NFTA_CHAIN_HOOK, .kind = netlink::Kind::nested},
    {.type = NFTA_CHAIN_POLICY, .kind = netlink::Kind::u32},
    {.type = NFTA_CHAIN_TYPE, .kind = netlink::Kind::string, .max_bytes = 15},
    {.type = NFTA_CHAIN_COUNTERS, .kind = netlink::Kind::nested},
    {.type = NFTA_CHAIN_FLAGS, .kind = netlink::Kind::u32},
    {.type = NFTA_CHAIN_ID, .kind = netlink::Kind::u32},
    {.type = NFTA_CHAIN_USERDATA, .kind = netlink::Kind::binary, .max_bytes = kUserdataMax},
};
constexpr netlink::Rule kCounters[] = {
    {.type = NFTA_COUNTER_PACKETS, .kind = netlink::Kind::u64, .required = true},
    {.type = NFTA_COUNTER_BYTES, .kind = netlink::Kind::u64, .required = true},
};

Result<rules::Chain*> find_by_handle(const rules::Table& table,
                                     const netlink::Attributes& attributes) {
  rules::Chain* chain = table.chains.find_handle(attributes.be64(NFTA_CHAIN_HANDLE).host());
  if (!chain) return std::unexpected(attributes.error(NFTA_CHAIN_HANDLE, ENOENT, ""));
  return chain;
}

/// The chain that NEWCHAIN is about; null when it is to be made.
Result<rules::Chain*> find_subject(const rules::Table& table,
                                   const netlink::Attributes& attributes) {
  if (attributes.has(NFTA_CHAIN_HANDLE)) return find_by_handle(table, attributes);
  if (attributes.has(NFTA_CHAIN_NAME)) return table.chains.find(attributes.string(NFTA_CHAIN_NAME));
  if (!attributes.has(NFTA_CHAIN_ID)) return std::unexpected(attributes.missing(NFTA_CHAIN_NAME));
  return nullptr;
}

Result<std::optional<rules::VerdictCode>> parse_policy(const netlink::Attributes& attributes,
                                                       const rules::Chain* chain) {
  if (!attributes.has(NFTA_CHAIN_POLICY)) return std::nullopt;
  const bool is_base = chain ? chain->base.has_value() : attributes.has(NFTA_CHAIN_HOOK);
  if (!is_base) {
    return std::unexpected(
        attributes.error(NFTA_CHAIN_POLICY, EOPNOTSUPP, "only base chains have a policy"));
  }
  const auto policy = static_cast<rules::VerdictCode>(attributes.be32(NFTA_CHAIN_POLICY).host());
  if (policy != rules::VerdictCode::accept && policy != rules::VerdictCode::drop) {
    return std::unexpected(
        attributes.error(NFTA_CHAIN_POLICY, EINVAL, "a policy is accept or drop"));
  }
  return policy;
}

Result<std::shared_ptr<rules::ChainCounters>> parse_counters(
    const netlink::Attributes& attributes) {
  if (!attributes.has(NFTA_CHAIN_COUNTERS)) return nullptr;
  const auto parsed = netlink::Attributes::parse(attributes.nested(NFTA_CHAIN_COUNTERS), kCounters);
  if (!parsed) return std::unexpected(parsed.error());
  auto counters = std::make_shared<rules::ChainCounters>();
  counters->packets = parsed->be64(NFTA_COUNTER_PACKETS).host();
  counters->bytes = parsed->be64(NFTA_COUNTER_BYTES).host();
  return counters;
}

Result<void> update(Edit& edit, const netlink::Attributes& attributes, rules::Chain& chain,
                    std::optional<rules::VerdictCode> policy) {
  const std::uint16_t name_type =
      attributes.has(NFTA_CHAIN_HANDLE) ? NFTA_CHAIN_HANDLE : NFTA_CHAIN_NAME;
  if (chain.is_binding()) return std::unexpected(Error{EINVAL, "the chain is bound to a rule"});
  if (edit.has(NLM_F_EXCL)) return std::unexpected(attributes.error(name_type, EEXIST, ""));
  if (edit.has(NLM_F_REPLACE))
    return std::unexpected(Error{EOPNOTSUPP, "chains can't be replaced"});
  if (attributes.has(NFTA_CHAIN_FLAGS)) {
    const std::uint32_t flags = attributes.be32(NFTA_CHAIN_FLAGS).host();
    if ((flags | (chain.flags & NFT_CHAIN_BASE)) != chain.flags) {
      return std::unexpected(
          attributes.error(NFTA_CHAIN_FLAGS, EOPNOTSUPP, "the flags of a chain can't change"));
    }
  }
  if (attributes.has(NFTA_CHAIN_HOOK)) {
    if (!chain.base) return std::unexpected(attributes.error(name_type, EEXIST, ""));
    const auto base = parse_base(attributes, chain.table->family);
    if (!base) return std::unexpected(base.error());
    if (base->hook != chain.base->hook || base->priority != chain.base->priority) {
      return std::unexpected(Error{EOPNOTSUPP, "hook and priority of a chain can't change"});
    }
    if (base->type != chain.base->type || base->devices != chain.base->devices) {
      return std::unexpected(attributes.error(name_type, EEXIST, ""));
    }
  }
  rules::ChainUpdate change{.policy = policy, .counters = {}, .new_name = {}};
  if (attributes.has(NFTA_CHAIN_HANDLE) && attributes.has(NFTA_CHAIN_NAME)) {
    change.new_name = attributes.string(NFTA_CHAIN_NAME);
    if (chain.table->chains.find(change.new_name)) {
      return std::unexpected(attributes.error(NFTA_CHAIN_NAME, EEXIST, ""));
    }
  }
  auto counters = parse_counters(attributes);
  if (!counters) return std::unexpected(counters.error());
  if (*counters && !chain.base) {
    return std::unexpected(
        attributes.error(NFTA_CHAIN_COUNTERS, EOPNOTSUPP, "only base chains have counters"));
  }
  change.counters = std::move(*counters);
  rules::update_chain(edit.ruleset, edit.transaction, chain, std::move(change));
  return {};
}

Result<void> set_base(const netlink::Attributes& attributes, rules::Family family,
                      std::optional<rules::VerdictCode> policy, rules::Chain& chain) {
  auto base = parse_base(attributes, family);
  if (!base) return std::unexpected(base.error());
  base->policy = policy.value_or(rules::VerdictCode::accept);
  auto counters = parse_counters(attributes);
  if (!counters) return std::unexpected(counters.error());
  chain.base = std::move(*base);
  chain.counters = std::move(*counters);
  chain.flags |= NFT_CHAIN_BASE;
  return {};
}

Result<void> create(Edit& edit, const netlink::Attributes& attributes, rules::Table& table,
                    std::optional<rules::VerdictCode> policy) {
  auto chain = std::make_shared<rules::Chain>();
  chain->flags = attributes.be32(NFTA_CHAIN_FLAGS).host();
  if (chain->flags & NFT_CHAIN_HW_OFFLOAD) {
    return std::unexpected(
        attributes.error(NFTA_CHAIN_FLAGS, EOPNOTSUPP, "weir offloads no chains to hardware"));
  }
  if (attributes.has(NFTA_CHAIN_HOOK)) {
    if (auto result = set_base(attributes, table.family, policy, *chain); !result) return result;
  } else if (chain->flags & NFT_CHAIN_BASE) {
    return std::unexpected(attributes.error(NFTA_CHAIN_FLAGS, EINVAL, "a base chain without hook"));
  }
  if (attributes.has(NFTA_CHAIN_NAME)) {
    chain->name = attributes.string(NFTA_CHAIN_NAME);
    if (chain->name.empty()) {
      return std::unexpected(attributes.error(NFTA_CHAIN_NAME, EINVAL, "an empty name"));
    }
  } else if (chain->is_binding()) {
    chain->name = "__chain" + std::to_string(edit.ruleset.next_chain_number());
  } else {
    return std::unexpected(attributes.missing(NFTA_CHAIN_NAME));
  }
  const Bytes userdata = attributes.raw(NFTA_CHAIN_USERDATA);
  chain->userdata.assign(userdata.begin(), userdata.end());
  rules::Chain& added = rules::add_chain(edit.ruleset, edit.transaction, table, std::move(chain));
  if (attributes.has(NFTA_CHAIN_ID)) {
    edit.transaction.name_chain(table, attributes.be32(NFTA_CHAIN_ID).host(), added);
  }
  return {};
}

void write_base(netlink::Writer& writer, const rules::Chain& chain) {
  write_hook(writer, *chain.base, chain.table->family);
  writer.put_be32(NFTA_CHAIN_POLICY, static_cast<std::uint32_t>(chain.base->policy));
  writer.put_string(NFTA_CHAIN_TYPE, rules::name_of(chain.base->type));
  if (chain.counters) {
    const auto nest = writer.nest_plain(NFTA_CHAIN_COUNTERS);
    writer.put_be64(NFTA_COUNTER_PACKETS, chain.counters->packets.load());
    writer.put_be64(NFTA_COUNTER_BYTES, chain.counters->bytes.load());
  }
}

struct Item {
  std::shared_ptr<const rules::Table> table;
  std::shared_ptr<const rules::Chain> chain;
};

}  // namespace

void write_chain(netlink::Writer& writer, const Heading& heading, const rules::Table& table,
                 const rules::Chain& chain) {
  writer.begin(start_of(heading, table.family));
  writer.put_string(NFTA_CHAIN_TABLE, table.name);
  writer.put_string(NFTA_CHAIN_NAME, chain.name);
  if (!heading.is_saved) writer.put_be64(NFTA_CHAIN_HANDLE, chain.handle);
  if (heading.message != NFT_MSG_DELCHAIN) {
    if (chain.base) write_base(writer, chain);
    if (chain.flags != 0) writer.put_be32(NFTA_CHAIN_FLAGS, chain.flags);
    // A bound chain counts its binding too.
    writer.put_be32(NFTA_CHAIN_USE, chain.use + chain.is_bound);
    if (!chain.userdata.empty()) writer.put(NFTA_CHAIN_USERDATA, chain.userdata);
  }
  writer.end();
}

Result<void> new_chain(Edit& edit) {
  const auto attributes = netlink::Attributes::parse(edit.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const auto table = find_table(edit.ruleset, *attributes, NFTA_CHAIN_TABLE, edit.family());
  if (!table) return std::unexpected(table.error());
  const auto chain = find_subject(**table, *attributes);
  if (!chain) return std::unexpected(chain.error());
  const auto policy = parse_policy(*attributes, *chain);
  if (!policy) return std::unexpected(policy.error());
  if (attributes->be32(NFTA_CHAIN_FLAGS).host() & ~kKnownFlags) {
    return std::unexpected(attributes->error(NFTA_CHAIN_FLAGS, EOPNOTSUPP, "unknown chain flags"));
  }
  if (*chain) return update(edit, *attributes, **chain, *policy);
  return create(edit, *attributes, **table, *policy);
}

Result<void> delete_chain(Edit& edit) {
  const auto attributes = netlink::Attributes::parse(edit.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const auto table = find_table(edit.ruleset, *attributes, NFTA_CHAIN_TABLE, edit.family());
  if (!table) {
    if (forgives(edit, table.error())) return {};
    return std::unexpected(table.error());
  }
  const auto chain = attributes->has(NFTA_CHAIN_HANDLE)
                         ? find_by_handle(**table, *attributes)
                         : find_chain(**table, *attributes, NFTA_CHAIN_NAME);
  if (!chain) {
    if (forgives(edit, chain.error())) return {};
    return std::unexpected(chain.error());
  }
  if ((*chain)->is_binding()) {
    return std::unexpected(Error{EOPNOTSUPP, "the chain is bound to a rule"});
  }
  if (attributes->has(NFTA_CHAIN_HOOK)) {
    return std::unexpected(attributes->error(NFTA_CHAIN_HOOK, EOPNOTSUPP,
                                             "weir can't take single devices from a chain"));
  }
  const std::uint16_t blamed =
      attributes->has(NFTA_CHAIN_HANDLE) ? NFTA_CHAIN_HANDLE : NFTA_CHAIN_NAME;
  if (edit.has(NLM_F_NONREC) && (*chain)->use > 0) {
    return std::unexpected(attributes->error(blamed, EBUSY, "the chain is in use"));
  }
  if (auto result = rules::delete_chain(edit.ruleset, edit.transaction, **chain); !result) {
    return std::unexpected(attributes->error(blamed, result.error().code, result.error().text));
  }
  return {};
}

Result<void> get_chains(Query& query) {
  const auto attributes = netlink::Attributes::parse(query.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  if (query.request.is_dump()) {
    std::vector<Item> items;
    query.ruleset.tables.for_each([&](const rules::Table& table) {
      if (query.family() != rules::Family::unspec && table.family != query.family()) return;
      if (attributes->has(NFTA_CHAIN_TABLE) && table.name != attributes->string(NFTA_CHAIN_TABLE)) {
        return;
      }
      table.chains.for_each([&](const rules::Chain& chain) {
        items.push_back(
            {.table = query.ruleset.tables.share(table), .chain = table.chains.share(chain)});
      });
    });
    Heading heading = query.heading(NFT_MSG_NEWCHAIN);
    return start_list_dump(
        query, std::move(items),
        [heading](netlink::Writer& writer, const Item& item, std::uint64_t generation) mutable {
          heading.generation = generation;
          write_chain(writer, heading, *item.table, *item.chain);
        });
  }
  const auto table = find_table(query.ruleset, *attributes, NFTA_CHAIN_TABLE, query.family());
  if (!table) return std::unexpected(table.error());
  const auto chain = find_chain(**table, *attributes, NFTA_CHAIN_NAME);
  if (!chain) return std::unexpected(chain.error());
  write_chain(query.reply.writer(), query.heading(NFT_MSG_NEWCHAIN), **table, **chain);
  return {};
}

}  // namespace weir::control::nftables
