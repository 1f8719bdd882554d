#include <cerrno>
#include <string>

#include "control/nftables/handlers.h"
#include "rules/set_edit.h"

namespace weir::control::nftables {
namespace {

constexpr std::size_t kUserdataMax = 256;
constexpr std::size_t kKeyBytesMax = 64;        // NFT_DATA_VALUE_MAXLEN.
constexpr std::uint32_t kVerdictBytes = 16;     // What the kernel says the length of a verdict is.
constexpr std::uint32_t kMaxObjectType = 10;    // NFT_OBJECT_SYNPROXY.
constexpr std::uint32_t kConcatenation = 0x80;  // NFT_SET_CONCAT.
constexpr std::uint32_t kExpressions = 0x100;   // NFT_SET_EXPR.
constexpr std::uint32_t kKnownFlags = NFT_SET_ANONYMOUS | NFT_SET_CONSTANT | NFT_SET_INTERVAL |
                                      NFT_SET_MAP | NFT_SET_TIMEOUT | NFT_SET_EVAL |
                                      NFT_SET_OBJECT | kConcatenation | kExpressions;
// Attributes of Linux 6.17: the name of the structure that holds the set, and how many elements it
// has.
constexpr std::uint16_t kSetType = 19;
constexpr std::uint16_t kSetCount = 20;

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_SET_TABLE, .kind = netlink::Kind::string, .max_bytes = NFT_TABLE_MAXNAMELEN - 1},
    {.type = NFTA_SET_NAME, .kind = netlink::Kind::string, .max_bytes = NFT_SET_MAXNAMELEN - 1},
    {.type = NFTA_SET_FLAGS, .kind = netlink::Kind::u32},
    {.type = NFTA_SET_KEY_TYPE, .kind = netlink::Kind::u32},
    {.type = NFTA_SET_KEY_LEN, .kind = netlink::Kind::u32},
    {.type = NFTA_SET_DATA_TYPE, .kind = netlink::Kind::u32},
    {.type = NFTA_SET_DATA_LEN, .kind = netlink::Kind::u32},
    {.type = NFTA_SET_POLICY, .kind = netlink::Kind::u32},
    {.type = NFTA_SET_DESC, .kind = netlink::Kind::nested},
    {.type = NFTA_SET_ID, .kind = netlink::Kind::u32},
    {.type = NFTA_SET_TIMEOUT, .kind = netlink::Kind::u64},
    {.type = NFTA_SET_GC_INTERVAL, .kind = netlink::Kind::u32},
    {.type = NFTA_SET_USERDATA, .kind = netlink::Kind::binary, .max_bytes = kUserdataMax},
    {.type = NFTA_SET_OBJ_TYPE, .kind = netlink::Kind::u32},
    {.type = NFTA_SET_HANDLE, .kind = netlink::Kind::u64},
    {.type = NFTA_SET_EXPR, .kind = netlink::Kind::nested},
    {.type = NFTA_SET_EXPRESSIONS, .kind = netlink::Kind::nested},
};
constexpr netlink::Rule kDescription[] = {
    {.type = NFTA_SET_DESC_SIZE, .kind = netlink::Kind::u32},
    {.type = NFTA_SET_DESC_CONCAT, .kind = netlink::Kind::nested},
};
constexpr netlink::Rule kField[] = {
    {.type = NFTA_SET_FIELD_LEN, .kind = netlink::Kind::u32, .required = true},
};

std::unexpected<Error> refuse(const netlink::Attributes& attributes, std::uint16_t type, int code,
                              const char* text) {
  return std::unexpected(attributes.error(type, code, text));
}

Result<void> parse_types(const netlink::Attributes& attributes, rules::SetDescription& set) {
  const std::uint32_t key_bytes = attributes.be32(NFTA_SET_KEY_LEN).host();
  if (key_bytes == 0 || key_bytes > kKeyBytesMax) {
    return refuse(attributes, NFTA_SET_KEY_LEN, EINVAL, "a key has 1 to 64 bytes");
  }
  set.key_bytes = static_cast<std::uint16_t>(key_bytes);
  set.key_type = attributes.be32(NFTA_SET_KEY_TYPE).host();

  const bool is_map = set.flags & NFT_SET_MAP;
  if (attributes.has(NFTA_SET_DATA_TYPE) != is_map) {
    return refuse(attributes, NFTA_SET_DATA_TYPE, EINVAL, "a map, and only a map, has a data type");
  }
  set.data_type = attributes.be32(NFTA_SET_DATA_TYPE).host();
  if (is_map && set.data_type != NFT_DATA_VERDICT) {
    const std::uint32_t data_bytes = attributes.be32(NFTA_SET_DATA_LEN).host();
    if (data_bytes == 0 || data_bytes > kKeyBytesMax) {
      return refuse(attributes, NFTA_SET_DATA_LEN, EINVAL, "a value has 1 to 64 bytes");
    }
    set.data_bytes = static_cast<std::uint16_t>(data_bytes);
  }
  const bool maps_objects = set.flags & NFT_SET_OBJECT;
  if (attributes.has(NFTA_SET_OBJ_TYPE) != maps_objects) {
    return refuse(attributes, NFTA_SET_OBJ_TYPE, EINVAL,
                  "the flag object and an object type belong together");
  }
  set.object_type = attributes.be32(NFTA_SET_OBJ_TYPE).host();
  if (maps_objects && (set.object_type == NFT_OBJECT_UNSPEC || set.object_type > kMaxObjectType)) {
    return refuse(attributes, NFTA_SET_OBJ_TYPE, EOPNOTSUPP, "unknown type of object");
  }
  return {};
}

/// NFTA_SET_DESC_CONCAT: the lengths of the fields, which together must make up the key.
Result<void> parse_fields(const netlink::Attribute& list, rules::SetDescription& set) {
  for (const netlink::Attribute& each : list.nested()) {
    if (each.type() != NFTA_LIST_ELEM)
      return std::unexpected(each.error(EINVAL, "not a list of fields"));
    const auto field = netlink::Attributes::parse(each.nested(), kField);
    if (!field) return std::unexpected(field.error());
    const std::uint32_t bytes = field->be32(NFTA_SET_FIELD_LEN).host();
    if (bytes == 0 || bytes > kKeyBytesMax || set.fields.count == sets::Fields::kMax) {
      return std::unexpected(each.error(E2BIG, "too long a field, or too many"));
    }
    set.fields.bytes[set.fields.count++] = static_cast<std::uint8_t>(bytes);
  }
  if (set.fields.words() > sets::Fields::kMaxWords ||
      set.fields.key_bytes() != (set.key_bytes + 3u) / 4 * 4) {
    return std::unexpected(list.error(EINVAL, "the fields don't make up the key"));
  }
  return {};
}

Result<rules::SetDescription> parse_description(const netlink::Attributes& attributes) {
  rules::SetDescription set;
  set.name = attributes.string(NFTA_SET_NAME);
  set.flags = attributes.be32(NFTA_SET_FLAGS).host();
  const bool excludes = (set.flags & NFT_SET_OBJECT) && (set.flags & (NFT_SET_MAP | NFT_SET_EVAL));
  if ((set.flags & ~kKnownFlags) || excludes) {
    return refuse(attributes, NFTA_SET_FLAGS, EOPNOTSUPP,
                  "unknown flags, or flags that exclude each other");
  }
  if (auto types = parse_types(attributes, set); !types) return std::unexpected(types.error());

  for (const std::uint16_t type : {NFTA_SET_TIMEOUT, NFTA_SET_GC_INTERVAL}) {
    if (attributes.has(type) && !(set.flags & NFT_SET_TIMEOUT)) {
      return refuse(attributes, type, EINVAL, "the set has no flag timeout");
    }
  }
  const std::uint64_t timeout_ms = attributes.be64(NFTA_SET_TIMEOUT).host();
  if (timeout_ms > std::uint64_t{INT64_MAX} / 1'000'000) {
    return refuse(attributes, NFTA_SET_TIMEOUT, ERANGE, "the timeout is too long");
  }
  set.timeout = std::chrono::milliseconds(timeout_ms);
  set.gc_interval_ms = attributes.be32(NFTA_SET_GC_INTERVAL).host();
  set.policy = attributes.be32(NFTA_SET_POLICY).host();
  const Bytes userdata = attributes.raw(NFTA_SET_USERDATA);
  set.userdata.assign(userdata.begin(), userdata.end());

  if (attributes.has(NFTA_SET_DESC)) {
    const auto description =
        netlink::Attributes::parse(attributes.nested(NFTA_SET_DESC), kDescription);
    if (!description) return std::unexpected(description.error());
    set.size = description->be32(NFTA_SET_DESC_SIZE).host();
    if (description->has(NFTA_SET_DESC_CONCAT)) {
      auto fields = parse_fields(description->find(NFTA_SET_DESC_CONCAT), set);
      if (!fields) return std::unexpected(fields.error());
    }
  }
  return set;
}

/// "__set%d" names the set by the first number that is free (nf_tables_set_alloc_name).
Result<void> complete_name(const rules::Table& table, rules::SetDescription& set) {
  const std::size_t at = set.name.find('%');
  if (at == std::string::npos) return {};
  if (set.name.compare(at, std::string::npos, "%d") != 0) {
    return std::unexpected(Error{EINVAL, "a set's name may end in %d, and has no other %"});
  }
  const std::string prefix = set.name.substr(0, at);
  for (std::uint32_t number = 0;; ++number) {
    set.name = prefix + std::to_string(number);
    if (!table.sets.find(set.name)) return {};
  }
}

Result<rules::StatefulExpressions> parse_expressions(const netlink::Attributes& attributes,
                                                     std::uint32_t flags,
                                                     rules::ParseContext& context) {
  if (attributes.has(NFTA_SET_EXPR)) {
    return rules::parse_element_expression(attributes.find(NFTA_SET_EXPR), context);
  }
  if (attributes.has(NFTA_SET_EXPRESSIONS) && !(flags & kExpressions)) {
    return refuse(attributes, NFTA_SET_EXPRESSIONS, EINVAL, "the set has no flag for expressions");
  }
  return rules::parse_element_expressions(attributes.find(NFTA_SET_EXPRESSIONS), context);
}

std::string_view structure_of(const rules::Set& set) {
  if (set.hash()) return "weir_hash";
  return set.description().fields.count > 1 ? "weir_boxes" : "weir_intervals";
}

void write_details(netlink::Writer& writer, const rules::Set& set) {
  const rules::SetDescription& it = set.description();
  if (it.flags != 0) writer.put_be32(NFTA_SET_FLAGS, it.flags);
  writer.put_be32(NFTA_SET_KEY_TYPE, it.key_type);
  writer.put_be32(NFTA_SET_KEY_LEN, std::uint32_t{it.key_bytes});
  if (set.is_map()) {
    writer.put_be32(NFTA_SET_DATA_TYPE, it.data_type);
    writer.put_be32(NFTA_SET_DATA_LEN, set.is_verdict_map() ? kVerdictBytes : it.data_bytes);
  }
  if (set.has(NFT_SET_OBJECT)) writer.put_be32(NFTA_SET_OBJ_TYPE, it.object_type);
  if (it.timeout != Duration{}) {
    writer.put_be64(NFTA_SET_TIMEOUT,
                    static_cast<std::uint64_t>(it.timeout / std::chrono::milliseconds(1)));
  }
  if (it.gc_interval_ms != 0) writer.put_be32(NFTA_SET_GC_INTERVAL, it.gc_interval_ms);
  if (it.policy != NFT_SET_POL_PERFORMANCE) writer.put_be32(NFTA_SET_POLICY, it.policy);
  if (!it.userdata.empty()) writer.put(NFTA_SET_USERDATA, it.userdata);
  {
    const auto nest = writer.nest_plain(NFTA_SET_DESC);
    if (it.size != 0) writer.put_be32(NFTA_SET_DESC_SIZE, it.size);
    if (it.fields.count > 1) {
      const auto list = writer.nest_plain(NFTA_SET_DESC_CONCAT);
      for (std::size_t f = 0; f < it.fields.count; ++f) {
        const auto field = writer.nest_plain(NFTA_LIST_ELEM);
        writer.put_be32(NFTA_SET_FIELD_LEN, std::uint32_t{it.fields.bytes[f]});
      }
    }
  }
  writer.put_string(kSetType, structure_of(set));
  writer.put_be32(kSetCount, set.told_count());
  if (set.expressions().size() == 1) {
    const auto nest = writer.nest_plain(NFTA_SET_EXPR);
    rules::write_expression(writer, *set.expressions()[0]);
  } else if (set.expressions().size() > 1) {
    const auto list = writer.nest_plain(NFTA_SET_EXPRESSIONS);
    for (const auto& expression : set.expressions()) {
      const auto nest = writer.nest_plain(NFTA_LIST_ELEM);
      rules::write_expression(writer, *expression);
    }
  }
}

struct Listed {
  std::shared_ptr<const rules::Table> table;
  std::shared_ptr<const rules::Set> set;
};

Result<void> dump_sets(Query& query, const rules::Table* only) {
  std::vector<Listed> sets;
  query.ruleset.tables.for_each([&](rules::Table& table) {
    if (query.family() != rules::Family::unspec && table.family != query.family()) return;
    if (only && only != &table) return;
    const auto shared = query.ruleset.tables.share(table);
    table.sets.for_each([&](rules::Set& set) { sets.push_back({shared, table.sets.share(set)}); });
  });
  return start_list_dump(
      query, std::move(sets),
      [heading = query.heading(NFT_MSG_NEWSET)](netlink::Writer& writer, const Listed& it,
                                                std::uint64_t generation) mutable {
        heading.generation = generation;
        write_set(writer, heading, *it.table, *it.set);
      });
}

}  // namespace

void write_set(netlink::Writer& writer, const Heading& heading, const rules::Table& table,
               const rules::Set& set) {
  writer.begin(start_of(heading, table.family));
  writer.put_string(NFTA_SET_TABLE, table.name);
  writer.put_string(NFTA_SET_NAME, set.name());
  if (heading.is_saved) {
    writer.put_be32(NFTA_SET_ID, static_cast<std::uint32_t>(set.handle));
  } else {
    writer.put_be64(NFTA_SET_HANDLE, set.handle);
  }
  if (heading.message != NFT_MSG_DELSET) write_details(writer, set);
  writer.end();
}

Result<void> new_set(Edit& edit) {
  const auto attributes = netlink::Attributes::parse(edit.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  for (const std::uint16_t needed :
       {NFTA_SET_TABLE, NFTA_SET_NAME, NFTA_SET_KEY_LEN, NFTA_SET_ID}) {
    if (!attributes->has(needed)) return std::unexpected(attributes->missing(needed));
  }
  auto description = parse_description(*attributes);
  if (!description) return std::unexpected(description.error());
  const auto table = find_table(edit.ruleset, *attributes, NFTA_SET_TABLE, edit.family());
  if (!table) return std::unexpected(table.error());

  rules::ParseContext context{
      .ruleset = edit.ruleset, .transaction = edit.transaction, .table = **table};
  if ((*table)->sets.find(description->name)) {
    if (edit.has(NLM_F_EXCL)) return refuse(*attributes, NFTA_SET_NAME, EEXIST, "");
    if (edit.has(NLM_F_REPLACE))
      return std::unexpected(Error{EOPNOTSUPP, "sets can't be replaced"});
    return {};
  }
  if (!edit.has(NLM_F_CREATE)) return refuse(*attributes, NFTA_SET_NAME, ENOENT, "");
  auto expressions = parse_expressions(*attributes, description->flags, context);
  if (!expressions) return std::unexpected(expressions.error());
  if (auto named = complete_name(**table, *description); !named) return named;

  auto set = std::make_shared<rules::Set>(std::move(*description), std::move(*expressions));
  rules::Set& added = rules::add_set(edit.ruleset, edit.transaction, **table, std::move(set));
  edit.transaction.name_set(**table, attributes->be32(NFTA_SET_ID).host(), added);
  return {};
}

Result<void> delete_set(Edit& edit) {
  const auto attributes = netlink::Attributes::parse(edit.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  if (edit.family() == rules::Family::unspec) {
    return std::unexpected(Error{EAFNOSUPPORT, "the request names no family"});
  }
  const auto table = find_table(edit.ruleset, *attributes, NFTA_SET_TABLE, edit.family());
  if (!table) {
    if (forgives(edit, table.error())) return {};
    return std::unexpected(table.error());
  }
  const std::uint16_t named_by = attributes->has(NFTA_SET_HANDLE) ? NFTA_SET_HANDLE : NFTA_SET_NAME;
  if (!attributes->has(named_by)) return std::unexpected(attributes->missing(NFTA_SET_NAME));
  rules::Set* const set = named_by == NFTA_SET_HANDLE
                              ? (*table)->sets.find_handle(attributes->be64(NFTA_SET_HANDLE).host())
                              : (*table)->sets.find(attributes->string(NFTA_SET_NAME));
  if (!set) {
    const Error absent = attributes->error(named_by, ENOENT, "");
    if (forgives(edit, absent)) return {};
    return std::unexpected(absent);
  }
  if (set->use > 0 || (edit.has(NLM_F_NONREC) && set->count() > 0)) {
    return refuse(*attributes, named_by, EBUSY, "");
  }
  rules::delete_set(edit.ruleset, edit.transaction, **table, *set);
  return {};
}

Result<void> get_sets(Query& query) {
  const auto attributes = netlink::Attributes::parse(query.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const rules::Table* only = nullptr;
  if (attributes->has(NFTA_SET_TABLE)) {
    const auto table = find_table(query.ruleset, *attributes, NFTA_SET_TABLE, query.family());
    if (!table) return std::unexpected(table.error());
    only = *table;
  }
  if (query.request.is_dump()) return dump_sets(query, only);

  if (query.family() == rules::Family::unspec) {
    return std::unexpected(Error{EAFNOSUPPORT, "the request names no family"});
  }
  for (const std::uint16_t needed : {NFTA_SET_TABLE, NFTA_SET_NAME}) {
    if (!attributes->has(needed)) return std::unexpected(attributes->missing(needed));
  }
  const rules::Set* const set = only->sets.find(attributes->string(NFTA_SET_NAME));
  if (!set) return refuse(*attributes, NFTA_SET_NAME, ENOENT, "");
  write_set(query.reply.writer(), query.heading(NFT_MSG_NEWSET), *only, *set);
  return {};
}

void write_set_notice(netlink::Writer& writer, const Heading& heading,
                      const rules::Notice& notice) {
  write_set(writer, heading, *notice.table, *notice.set);
}

}  // namespace weir::control::nftables
