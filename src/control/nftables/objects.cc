#include <cerrno>

#include "control/nftables/handlers.h"
#include "rules/object.h"

namespace weir::control::nftables {
namespace {

constexpr std::size_t kUserdataMax = 256;

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_OBJ_TABLE, .kind = netlink::Kind::string, .max_bytes = NFT_TABLE_MAXNAMELEN - 1},
    {.type = NFTA_OBJ_NAME, .kind = netlink::Kind::string, .max_bytes = NFT_OBJ_MAXNAMELEN - 1},
    {.type = NFTA_OBJ_TYPE, .kind = netlink::Kind::u32},
    {.type = NFTA_OBJ_DATA, .kind = netlink::Kind::nested},
    {.type = NFTA_OBJ_HANDLE, .kind = netlink::Kind::u64},
    {.type = NFTA_OBJ_USERDATA, .kind = netlink::Kind::binary, .max_bytes = kUserdataMax},
};

struct Listed {
  std::shared_ptr<const rules::Table> table;
  std::shared_ptr<rules::Object> object;
};

Result<void> dump_objects(Query& query, const netlink::Attributes& attributes) {
  // Like the kernel: a table or type that isn't there is no error, the answer is empty.
  std::vector<Listed> objects;
  query.ruleset.tables.for_each([&](rules::Table& table) {
    if (query.family() != rules::Family::unspec && table.family != query.family()) return;
    if (attributes.has(NFTA_OBJ_TABLE) && attributes.string(NFTA_OBJ_TABLE) != table.name) return;
    const auto shared = query.ruleset.tables.share(table);
    table.objects.for_each([&](rules::Object& object) {
      const std::uint32_t type = attributes.be32(NFTA_OBJ_TYPE).host();
      if (type != NFT_OBJECT_UNSPEC && type != object.type) return;
      objects.push_back({shared, table.objects.share(object)});
    });
  });
  return start_list_dump(
      query, std::move(objects),
      [heading = query.heading(NFT_MSG_NEWOBJ, NLM_F_APPEND), mode = query.mode()](
          netlink::Writer& writer, const Listed& it, std::uint64_t generation) mutable {
        heading.generation = generation;
        write_object(writer, heading, *it.table, *it.object, mode);
      });
}

Result<rules::Object*> find_object(const rules::Table& table,
                                   const netlink::Attributes& attributes) {
  const bool by_handle = attributes.has(NFTA_OBJ_HANDLE);
  const std::uint16_t named_by = by_handle ? NFTA_OBJ_HANDLE : NFTA_OBJ_NAME;
  for (const std::uint16_t needed : {std::uint16_t{NFTA_OBJ_TYPE}, named_by}) {
    if (!attributes.has(needed)) return std::unexpected(attributes.missing(needed));
  }
  const std::uint32_t type = attributes.be32(NFTA_OBJ_TYPE).host();
  rules::Object* const object =
      by_handle ? table.objects.find_handle(attributes.be64(NFTA_OBJ_HANDLE).host())
                : table.objects.find(rules::object_key(type, attributes.string(NFTA_OBJ_NAME)));
  if (!object || object->type != type)
    return std::unexpected(attributes.error(named_by, ENOENT, ""));
  return object;
}

}  // namespace

void write_object(netlink::Writer& writer, const Heading& heading, const rules::Table& table,
                  rules::Object& object, rules::DumpMode mode) {
  writer.begin(start_of(heading, table.family));
  writer.put_string(NFTA_OBJ_TABLE, table.name);
  writer.put_string(NFTA_OBJ_NAME, object.name);
  writer.put_be32(NFTA_OBJ_TYPE, object.type);
  if (!heading.is_saved) writer.put_be64(NFTA_OBJ_HANDLE, object.handle);
  if (heading.message != NFT_MSG_DELOBJ) {
    writer.put_be32(NFTA_OBJ_USE, object.use);
    {
      const auto nest = writer.nest_plain(NFTA_OBJ_DATA);
      object.dump(writer, mode);
    }
    if (!object.userdata.empty()) writer.put(NFTA_OBJ_USERDATA, object.userdata);
  }
  writer.end();
}

Result<void> new_object(Edit& edit) {
  const auto attributes = netlink::Attributes::parse(edit.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  for (const std::uint16_t needed : {NFTA_OBJ_TYPE, NFTA_OBJ_NAME, NFTA_OBJ_DATA}) {
    if (!attributes->has(needed)) return std::unexpected(attributes->missing(needed));
  }
  const auto table = find_table(edit.ruleset, *attributes, NFTA_OBJ_TABLE, edit.family());
  if (!table) return std::unexpected(table.error());

  const std::uint32_t type = attributes->be32(NFTA_OBJ_TYPE).host();
  if ((*table)->objects.find(rules::object_key(type, attributes->string(NFTA_OBJ_NAME)))) {
    if (edit.has(NLM_F_EXCL)) return std::unexpected(attributes->error(NFTA_OBJ_NAME, EEXIST, ""));
    if (edit.has(NLM_F_REPLACE))
      return std::unexpected(Error{EOPNOTSUPP, "objects can't be replaced"});
    return {};
  }
  auto object =
      rules::Object::parse(type, attributes->nested(NFTA_OBJ_DATA), edit.family(), edit.ruleset);
  if (!object) return std::unexpected(object.error());
  (*object)->name = attributes->string(NFTA_OBJ_NAME);
  const Bytes userdata = attributes->raw(NFTA_OBJ_USERDATA);
  (*object)->userdata.assign(userdata.begin(), userdata.end());
  rules::add_object(edit.ruleset, edit.transaction, **table, std::move(*object));
  return {};
}

Result<void> delete_object(Edit& edit) {
  const auto attributes = netlink::Attributes::parse(edit.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const auto table = find_table(edit.ruleset, *attributes, NFTA_OBJ_TABLE, edit.family());
  if (!table) {
    if (forgives(edit, table.error())) return {};
    return std::unexpected(table.error());
  }
  const auto object = find_object(**table, *attributes);
  if (!object) {
    if (forgives(edit, object.error())) return {};
    return std::unexpected(object.error());
  }
  if ((*object)->use > 0) {
    return std::unexpected(attributes->error(
        attributes->has(NFTA_OBJ_HANDLE) ? NFTA_OBJ_HANDLE : NFTA_OBJ_NAME, EBUSY, ""));
  }
  rules::delete_object(edit.ruleset, edit.transaction, **table, **object);
  return {};
}

Result<void> get_objects(Query& query) {
  const auto attributes = netlink::Attributes::parse(query.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  if (query.request.is_dump()) return dump_objects(query, *attributes);

  const auto table = find_table(query.ruleset, *attributes, NFTA_OBJ_TABLE, query.family());
  if (!table) return std::unexpected(table.error());
  const auto object = find_object(**table, *attributes);
  if (!object) return std::unexpected(object.error());
  write_object(query.reply.writer(), query.heading(NFT_MSG_NEWOBJ), **table, **object,
               query.mode());
  return {};
}

void write_object_notice(netlink::Writer& writer, const Heading& heading,
                         const rules::Notice& notice) {
  write_object(writer, heading, *notice.table, *notice.object, rules::DumpMode::keep);
}

}  // namespace weir::control::nftables
