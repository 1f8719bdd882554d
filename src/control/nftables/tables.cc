#include <cerrno>

#include "control/nftables/handlers.h"
#include "rules/edit.h"

namespace weir::control::nftables {
namespace {

constexpr std::size_t kUserdataMax = 256;

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_TABLE_NAME, .kind = netlink::Kind::string, .max_bytes = NFT_TABLE_MAXNAMELEN - 1},
    {.type = NFTA_TABLE_FLAGS, .kind = netlink::Kind::u32},
    {.type = NFTA_TABLE_HANDLE, .kind = netlink::Kind::u64},
    {.type = NFTA_TABLE_USERDATA, .kind = netlink::Kind::binary, .max_bytes = kUserdataMax},
};

Result<void> check_flags(const netlink::Attributes& attributes) {
  const std::uint32_t flags = attributes.be32(NFTA_TABLE_FLAGS).host();
  if ((flags & ~std::uint32_t{NFT_TABLE_F_DORMANT}) == 0) return {};
  return std::unexpected(
      attributes.error(NFTA_TABLE_FLAGS, EOPNOTSUPP, "weir knows no table flag but dormant"));
}

Result<void> check_family(rules::Family family) {
  switch (family) {
    case rules::Family::inet:
    case rules::Family::ip:
    case rules::Family::ip6:
    case rules::Family::netdev:
      return {};
    default:
      return std::unexpected(
          Error{EOPNOTSUPP, "weir has no tables of family " + std::string(rules::name_of(family))});
  }
}

Result<rules::Table*> find_by_handle(const rules::Ruleset& ruleset,
                                     const netlink::Attributes& attributes, rules::Family family) {
  rules::Table* table = ruleset.tables.find_handle(attributes.be64(NFTA_TABLE_HANDLE).host());
  if (!table || table->family != family) {
    return std::unexpected(attributes.error(NFTA_TABLE_HANDLE, ENOENT, ""));
  }
  return table;
}

using Shared = std::shared_ptr<const rules::Table>;

}  // namespace

void write_table(netlink::Writer& writer, const Heading& heading, const rules::Table& table) {
  writer.begin(start_of(heading, table.family));
  writer.put_string(NFTA_TABLE_NAME, table.name);
  writer.put_be32(NFTA_TABLE_USE, table.use);
  if (!heading.is_saved) writer.put_be64(NFTA_TABLE_HANDLE, table.handle);
  if (heading.message != NFT_MSG_DELTABLE) {
    writer.put_be32(NFTA_TABLE_FLAGS, table.flags);
    if (!table.userdata.empty()) writer.put(NFTA_TABLE_USERDATA, table.userdata);
  }
  writer.end();
}

Result<void> new_table(Edit& edit) {
  const auto attributes = netlink::Attributes::parse(edit.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  if (!attributes->has(NFTA_TABLE_NAME))
    return std::unexpected(attributes->missing(NFTA_TABLE_NAME));
  if (auto known = check_family(edit.family()); !known) return known;
  if (auto allowed = check_flags(*attributes); !allowed) return allowed;
  const std::uint32_t flags = attributes->be32(NFTA_TABLE_FLAGS).host();

  const std::string_view name = attributes->string(NFTA_TABLE_NAME);
  if (rules::Table* table = edit.ruleset.find_table(edit.family(), name)) {
    if (edit.has(NLM_F_EXCL))
      return std::unexpected(attributes->error(NFTA_TABLE_NAME, EEXIST, ""));
    if (edit.has(NLM_F_REPLACE))
      return std::unexpected(Error{EOPNOTSUPP, "tables can't be replaced"});
    rules::set_table_flags(edit.ruleset, edit.transaction, *table, flags);
    return {};
  }
  if (name.empty())
    return std::unexpected(attributes->error(NFTA_TABLE_NAME, EINVAL, "an empty name"));
  auto table = std::make_shared<rules::Table>();
  table->name = name;
  table->family = edit.family();
  table->flags = flags;
  const Bytes userdata = attributes->raw(NFTA_TABLE_USERDATA);
  table->userdata.assign(userdata.begin(), userdata.end());
  rules::add_table(edit.ruleset, edit.transaction, std::move(table));
  return {};
}

Result<void> delete_table(Edit& edit) {
  const auto attributes = netlink::Attributes::parse(edit.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const bool by_handle = attributes->has(NFTA_TABLE_HANDLE);
  const rules::Family family = edit.family();

  if (family == rules::Family::unspec || (!by_handle && !attributes->has(NFTA_TABLE_NAME))) {
    // Flush: all tables of the family (or all), of that name if one is given.
    std::vector<rules::Table*> tables;
    edit.ruleset.tables.for_each([&](rules::Table& table) {
      const bool is_meant =
          (family == rules::Family::unspec || table.family == family) &&
          (!attributes->has(NFTA_TABLE_NAME) || table.name == attributes->string(NFTA_TABLE_NAME));
      if (is_meant) tables.push_back(&table);
    });
    for (rules::Table* table : tables) {
      rules::delete_table(edit.ruleset, edit.transaction, *table);
    }
    return {};
  }
  const auto table = by_handle ? find_by_handle(edit.ruleset, *attributes, family)
                               : find_table(edit.ruleset, *attributes, NFTA_TABLE_NAME, family);
  if (!table) {
    if (forgives(edit, table.error())) return {};
    return std::unexpected(table.error());
  }
  if (edit.has(NLM_F_NONREC) && (*table)->use > 0) {
    return std::unexpected(Error{EBUSY, "the table is not empty"});
  }
  rules::delete_table(edit.ruleset, edit.transaction, **table);
  return {};
}

Result<void> get_tables(Query& query) {
  if (query.request.is_dump()) {
    std::vector<Shared> tables;
    query.ruleset.tables.for_each([&](rules::Table& table) {
      if (query.family() == rules::Family::unspec || table.family == query.family()) {
        tables.push_back(query.ruleset.tables.share(table));
      }
    });
    Heading heading = query.heading(NFT_MSG_NEWTABLE);
    return start_list_dump(
        query, std::move(tables),
        [heading](netlink::Writer& writer, const Shared& table, std::uint64_t generation) mutable {
          heading.generation = generation;
          write_table(writer, heading, *table);
        });
  }
  const auto attributes = netlink::Attributes::parse(query.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const auto table = find_table(query.ruleset, *attributes, NFTA_TABLE_NAME, query.family());
  if (!table) return std::unexpected(table.error());
  write_table(query.reply.writer(), query.heading(NFT_MSG_NEWTABLE), **table);
  return {};
}

}  // namespace weir::control::nftables
