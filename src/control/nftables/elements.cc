#include <algorithm>
#include <cerrno>
#include <string>

#include "control/nftables/handlers.h"
#include "rules/set_edit.h"

namespace weir::control::nftables {
namespace {

constexpr std::size_t kUserdataMax = 256;
constexpr std::uint32_t kCatchAll = 2;  // NFT_SET_ELEM_CATCHALL.
constexpr std::uint32_t kKnownFlags = NFT_SET_ELEM_INTERVAL_END | kCatchAll;
constexpr std::uint64_t kLongestTimeoutMs = std::uint64_t{INT64_MAX} / 1'000'000 / 2;

constexpr netlink::Rule kList[] = {
    {.type = NFTA_SET_ELEM_LIST_TABLE,
     .kind = netlink::Kind::string,
     .max_bytes = NFT_TABLE_MAXNAMELEN - 1},
    {.type = NFTA_SET_ELEM_LIST_SET,
     .kind = netlink::Kind::string,
     .max_bytes = NFT_SET_MAXNAMELEN - 1},
    {.type = NFTA_SET_ELEM_LIST_ELEMENTS, .kind = netlink::Kind::nested},
    {.type = NFTA_SET_ELEM_LIST_SET_ID, .kind = netlink::Kind::u32},
};
constexpr netlink::Rule kElement[] = {
    {.type = NFTA_SET_ELEM_KEY, .kind = netlink::Kind::nested},
    {.type = NFTA_SET_ELEM_DATA, .kind = netlink::Kind::nested},
    {.type = NFTA_SET_ELEM_FLAGS, .kind = netlink::Kind::u32},
    {.type = NFTA_SET_ELEM_TIMEOUT, .kind = netlink::Kind::u64},
    {.type = NFTA_SET_ELEM_EXPIRATION, .kind = netlink::Kind::u64},
    {.type = NFTA_SET_ELEM_USERDATA, .kind = netlink::Kind::binary, .max_bytes = kUserdataMax},
    {.type = NFTA_SET_ELEM_EXPR, .kind = netlink::Kind::nested},
    {.type = NFTA_SET_ELEM_OBJREF,
     .kind = netlink::Kind::string,
     .max_bytes = NFT_OBJ_MAXNAMELEN - 1},
    {.type = NFTA_SET_ELEM_KEY_END, .kind = netlink::Kind::nested},
    {.type = NFTA_SET_ELEM_EXPRESSIONS, .kind = netlink::Kind::nested},
};
/// What the end of an interval can't have.
constexpr std::uint16_t kOfBeginnings[] = {NFTA_SET_ELEM_DATA,       NFTA_SET_ELEM_OBJREF,
                                           NFTA_SET_ELEM_TIMEOUT,    NFTA_SET_ELEM_EXPIRATION,
                                           NFTA_SET_ELEM_USERDATA,   NFTA_SET_ELEM_EXPR,
                                           NFTA_SET_ELEM_EXPRESSIONS};

using Attributes = netlink::Attributes;

std::unexpected<Error> refuse(const Attributes& attributes, std::uint16_t type, int code,
                              const char* text) {
  return std::unexpected(attributes.error(type, code, text));
}

/// Which element a request speaks of.
struct Key {
  std::vector<std::uint8_t> low;
  std::vector<std::uint8_t> high;
  std::uint32_t flags = 0;
};

Result<std::vector<std::uint8_t>> parse_value(const Attributes& attributes, std::uint16_t type,
                                              std::size_t length, rules::ParseContext& context) {
  const auto data = rules::parse_data(attributes.find(type), context);
  if (!data) return std::unexpected(data.error());
  if (data->is_verdict || data->length != length) {
    return refuse(attributes, type, EINVAL, "the key has another length than the set's");
  }
  return std::vector<std::uint8_t>(data->bytes().begin(), data->bytes().end());
}

Result<Key> parse_key(const Attributes& attributes, const rules::Set& set,
                      rules::ParseContext& context) {
  Key key;
  key.flags = attributes.be32(NFTA_SET_ELEM_FLAGS).host();
  if (key.flags & ~kKnownFlags) {
    return refuse(attributes, NFTA_SET_ELEM_FLAGS, EOPNOTSUPP, "unknown flag of an element");
  }
  const bool is_end = key.flags & NFT_SET_ELEM_INTERVAL_END;
  if ((is_end && !set.has(NFT_SET_INTERVAL)) || key.flags == kKnownFlags) {
    return refuse(attributes, NFTA_SET_ELEM_FLAGS, EINVAL, "only intervals have an end");
  }
  const std::size_t length = set.description().key_bytes;
  if (attributes.has(NFTA_SET_ELEM_KEY) && !(key.flags & kCatchAll)) {
    auto low = parse_value(attributes, NFTA_SET_ELEM_KEY, length, context);
    if (!low) return std::unexpected(low.error());
    key.low = std::move(*low);
  } else if (!(key.flags & kCatchAll)) {
    return std::unexpected(attributes.missing(NFTA_SET_ELEM_KEY));
  }
  if (attributes.has(NFTA_SET_ELEM_KEY_END)) {
    auto high = parse_value(attributes, NFTA_SET_ELEM_KEY_END, length, context);
    if (!high) return std::unexpected(high.error());
    key.high = std::move(*high);
  }
  return key;
}

Result<Duration> parse_duration(const Attributes& attributes, std::uint16_t type,
                                const rules::Set& set) {
  if (attributes.has(type) && !set.has(NFT_SET_TIMEOUT)) {
    return refuse(attributes, type, EINVAL, "the set has no flag timeout");
  }
  const std::uint64_t ms = attributes.be64(type).host();
  if (ms > kLongestTimeoutMs) return refuse(attributes, type, ERANGE, "the timeout is too long");
  return Duration(std::chrono::milliseconds(ms));
}

Result<void> parse_states(const Attributes& attributes, const rules::Set& set,
                          rules::ParseContext& context, rules::NewElement& element) {
  auto parsed =
      attributes.has(NFTA_SET_ELEM_EXPR)
          ? rules::parse_element_expression(attributes.find(NFTA_SET_ELEM_EXPR), context)
          : rules::parse_element_expressions(attributes.find(NFTA_SET_ELEM_EXPRESSIONS), context);
  if (!parsed) return std::unexpected(parsed.error());
  if (auto fits = rules::check_expressions(set, *parsed); !fits) return fits;
  for (const auto& each : parsed->empty() ? set.expressions() : *parsed)
    element.states.push_back(each->state());
  return {};
}

/// What a map's element maps to.
Result<void> parse_target(const Attributes& attributes, const rules::Set& set,
                          rules::ParseContext& context, rules::NewElement& element) {
  const bool is_end = element.flags & NFT_SET_ELEM_INTERVAL_END;
  if (attributes.has(NFTA_SET_ELEM_DATA) != (set.is_map() && !is_end)) {
    return refuse(attributes, NFTA_SET_ELEM_DATA, EINVAL,
                  "an element of a map, and only of a map, has a value");
  }
  if (attributes.has(NFTA_SET_ELEM_DATA)) {
    auto data = rules::parse_data(attributes.find(NFTA_SET_ELEM_DATA), context);
    if (!data) return std::unexpected(data.error());
    if (data->is_verdict != set.is_verdict_map() ||
        (!data->is_verdict && data->length != set.description().data_bytes)) {
      return refuse(attributes, NFTA_SET_ELEM_DATA, EINVAL,
                    "the value has another type than the map's");
    }
    if (data->chain) context.transaction.validate(context.table);
    element.data = std::move(*data);
  }
  if (attributes.has(NFTA_SET_ELEM_OBJREF)) {
    if (!set.has(NFT_SET_OBJECT)) {
      return refuse(attributes, NFTA_SET_ELEM_OBJREF, EINVAL, "the set maps to no objects");
    }
    rules::Object* const object = context.table.objects.find(
        rules::object_key(set.description().object_type, attributes.string(NFTA_SET_ELEM_OBJREF)));
    if (!object) return refuse(attributes, NFTA_SET_ELEM_OBJREF, ENOENT, "");
    element.object = context.table.objects.share(*object);
  }
  return {};
}

Result<rules::NewElement> parse_element(const netlink::Attribute& nest, const rules::Set& set,
                                        rules::ParseContext& context) {
  const auto attributes = Attributes::parse(nest.nested(), kElement);
  if (!attributes) return std::unexpected(attributes.error());
  auto key = parse_key(*attributes, set, context);
  if (!key) return std::unexpected(key.error());

  rules::NewElement element;
  element.key = std::move(key->low);
  element.key_end = std::move(key->high);
  element.flags = key->flags;
  const bool is_end = element.flags & NFT_SET_ELEM_INTERVAL_END;
  if (is_end) {
    for (const std::uint16_t type : kOfBeginnings) {
      if (attributes->has(type))
        return refuse(*attributes, type, EINVAL, "not for the end of an interval");
    }
  }
  const auto timeout = parse_duration(*attributes, NFTA_SET_ELEM_TIMEOUT, set);
  if (!timeout) return std::unexpected(timeout.error());
  const auto expiration = parse_duration(*attributes, NFTA_SET_ELEM_EXPIRATION, set);
  if (!expiration) return std::unexpected(expiration.error());
  if (!is_end) {
    element.timeout = attributes->has(NFTA_SET_ELEM_TIMEOUT) ? *timeout : set.description().timeout;
    element.expiration = *expiration;
    if (auto states = parse_states(*attributes, set, context, element); !states) {
      return std::unexpected(states.error());
    }
  }
  if (auto target = parse_target(*attributes, set, context, element); !target) {
    return std::unexpected(target.error());
  }
  const Bytes userdata = attributes->raw(NFTA_SET_ELEM_USERDATA);
  element.userdata.assign(userdata.begin(), userdata.end());
  return element;
}

void write_states(netlink::Writer& writer, const rules::Body& body, rules::DumpMode mode,
                  Time now) {
  std::size_t count = 0;
  for (const rules::State& state : body.states()) count += state.kind != rules::State::Kind::none;
  if (count == 0) return;
  if (count == 1) {
    for (rules::State& state : body.states()) {
      if (state.kind == rules::State::Kind::none) continue;
      const auto nest = writer.nest_plain(NFTA_SET_ELEM_EXPR);
      state.dump(writer, mode, now);
    }
    return;
  }
  const auto list = writer.nest_plain(NFTA_SET_ELEM_EXPRESSIONS);
  for (rules::State& state : body.states()) {
    const auto nest = writer.nest_plain(NFTA_LIST_ELEM);
    state.dump(writer, mode, now);
  }
}

void write_value_of(netlink::Writer& writer, const rules::Set& set,
                    const rules::ElementView& element) {
  if (element.flags & NFT_SET_ELEM_INTERVAL_END) return;
  if (set.is_verdict_map()) {
    rules::Data data;
    data.is_verdict = true;
    data.verdict = element.body.verdict();
    if (const rules::ElementExtra* extra = element.body.extra()) data.chain = extra->target.chain;
    rules::write_data(writer, NFTA_SET_ELEM_DATA, data);
  } else if (set.is_map()) {
    rules::write_value(writer, NFTA_SET_ELEM_DATA,
                       {element.body.value(), set.description().data_bytes});
  }
}

/// One NFTA_LIST_ELEM, as nf_tables_fill_setelem.
void write_element(netlink::Writer& writer, const rules::Set& set,
                   const rules::ElementView& element, rules::DumpMode mode, Time now) {
  const auto ms = [](Duration duration) {
    return static_cast<std::uint64_t>(duration / std::chrono::milliseconds(1));
  };
  const rules::ElementExtra* const extra = element.body.extra();
  const auto nest = writer.nest_plain(NFTA_LIST_ELEM);
  if (!element.key.empty()) rules::write_value(writer, NFTA_SET_ELEM_KEY, element.key);
  if (!element.key_end.empty()) rules::write_value(writer, NFTA_SET_ELEM_KEY_END, element.key_end);
  write_value_of(writer, set, element);
  write_states(writer, element.body, mode, now);
  if (extra && extra->object) writer.put_string(NFTA_SET_ELEM_OBJREF, extra->object->name);
  if (element.flags != 0) writer.put_be32(NFTA_SET_ELEM_FLAGS, element.flags);
  if (set.has(NFT_SET_TIMEOUT) && !(element.flags & NFT_SET_ELEM_INTERVAL_END)) {
    if (element.timeout != set.description().timeout) {
      writer.put_be64(NFTA_SET_ELEM_TIMEOUT, ms(element.timeout));
    }
    if (element.deadline != Time{}) {
      writer.put_be64(NFTA_SET_ELEM_EXPIRATION,
                      element.deadline > now ? ms(element.deadline - now) : std::uint64_t{0});
    }
  }
  if (extra && !extra->userdata.empty()) writer.put(NFTA_SET_ELEM_USERDATA, extra->userdata);
}

void begin_list(netlink::Writer& writer, const Heading& heading, const rules::Table& table,
                const rules::Set& set) {
  writer.begin(start_of(heading, table.family));
  writer.put_string(NFTA_SET_ELEM_LIST_TABLE, table.name);
  writer.put_string(NFTA_SET_ELEM_LIST_SET, set.name());
}

/// All elements of a set, as many in a message as fit.
class ElementsDump final : public Dump {
 public:
  ElementsDump(Query& query, std::shared_ptr<const rules::Table> table,
               std::shared_ptr<const rules::Set> set)
      : ruleset_(query.ruleset),
        table_(std::move(table)),
        set_(std::move(set)),
        heading_(query.heading(NFT_MSG_NEWSETELEM)),
        mode_(query.mode()) {}

  std::uint64_t generation() const override { return ruleset_.generation(); }

  Result<Step> next(netlink::Writer& out, std::size_t room) override {
    cursor_ = write_elements(
        out, heading_, *table_, *set_, cursor_, room, mode_,
        {.now = ruleset_.now(), .generation = static_cast<std::uint32_t>(ruleset_.generation())});
    return cursor_ == 0 ? Step::done : Step::more;
  }

 private:
  rules::Ruleset& ruleset_;
  std::shared_ptr<const rules::Table> table_;
  std::shared_ptr<const rules::Set> set_;
  Heading heading_;
  rules::DumpMode mode_;
  std::uint64_t cursor_ = 0;
};

/// The table and the set that a request names.
struct Subject {
  rules::Table& table;
  std::shared_ptr<rules::Set> set;
};

Result<Subject> find_subject(const rules::Ruleset& ruleset, const Attributes& attributes,
                             rules::Family family, const rules::Transaction* transaction) {
  const auto table = find_table(ruleset, attributes, NFTA_SET_ELEM_LIST_TABLE, family);
  if (!table) return std::unexpected(table.error());
  if (!attributes.has(NFTA_SET_ELEM_LIST_SET)) {
    return std::unexpected(attributes.missing(NFTA_SET_ELEM_LIST_SET));
  }
  rules::Set* set = (*table)->sets.find(attributes.string(NFTA_SET_ELEM_LIST_SET));
  if (!set && transaction && attributes.has(NFTA_SET_ELEM_LIST_SET_ID)) {
    set = transaction->find_set(**table, attributes.be32(NFTA_SET_ELEM_LIST_SET_ID).host());
    if (set && !(*table)->sets.is_shown(*set)) set = nullptr;
  }
  if (!set) return refuse(attributes, NFTA_SET_ELEM_LIST_SET, ENOENT, "");
  return Subject{**table, (*table)->sets.share(*set)};
}

/// A constant set that a rule uses already can't be changed any more.
Result<void> check_changeable(const Attributes& attributes, const rules::Set& set) {
  if (set.bindings == 0 || !(set.has(NFT_SET_CONSTANT) || set.is_anonymous())) return {};
  return refuse(attributes, NFTA_SET_ELEM_LIST_SET, EBUSY, "a rule uses this constant set");
}

Result<void> get_one(Query& query, const Subject& subject, const netlink::Attribute& nest) {
  const auto attributes = Attributes::parse(nest.nested(), kElement);
  if (!attributes) return std::unexpected(attributes.error());
  rules::Transaction none(query.ruleset.generation() + 1);
  rules::ParseContext context{
      .ruleset = query.ruleset, .transaction = none, .table = subject.table};
  const auto key = parse_key(*attributes, *subject.set, context);
  if (!key) return std::unexpected(key.error());

  const Time now = query.ruleset.now();
  const auto found = subject.set->get(
      key->low, key->high, key->flags,
      {.now = now, .generation = static_cast<std::uint32_t>(query.ruleset.generation())});
  if (!found) return std::unexpected(nest.error(ENOENT, "the set has no such element"));
  netlink::Writer& writer = query.reply.writer();
  begin_list(writer, query.heading(NFT_MSG_NEWSETELEM), subject.table, *subject.set);
  {
    const auto list = writer.nest_plain(NFTA_SET_ELEM_LIST_ELEMENTS);
    write_element(writer, *subject.set, *found, query.mode(), now);
  }
  writer.end();
  return {};
}

}  // namespace

std::uint64_t write_elements(netlink::Writer& writer, const Heading& heading,
                             const rules::Table& table, const rules::Set& set, std::uint64_t cursor,
                             std::size_t room, rules::DumpMode mode, const sets::View& view) {
  // The longest element (two keys, a value, two expressions, user data) has some 700 bytes.
  constexpr std::size_t kLongest = 1024;
  struct Page {
    netlink::Writer& writer;
    const rules::Set& set;
    rules::DumpMode mode;
    std::size_t full_at;
    Time now;
  } page{writer, set, mode, room > 2 * kLongest ? room - kLongest : room / 2, view.now};
  begin_list(writer, heading, table, set);
  {
    const auto list = writer.nest_plain(NFTA_SET_ELEM_LIST_ELEMENTS);
    cursor = set.walk(
        cursor, view,
        [](void* context, const rules::ElementView& element) {
          const Page& it = *static_cast<Page*>(context);
          write_element(it.writer, it.set, element, it.mode, it.now);
          return it.writer.size() < it.full_at;
        },
        &page);
  }
  writer.end();
  return cursor;
}

Result<void> new_elements(Edit& edit) {
  const auto attributes = Attributes::parse(edit.attributes(), kList);
  if (!attributes) return std::unexpected(attributes.error());
  if (!attributes->has(NFTA_SET_ELEM_LIST_ELEMENTS)) {
    return std::unexpected(attributes->missing(NFTA_SET_ELEM_LIST_ELEMENTS));
  }
  const auto subject = find_subject(edit.ruleset, *attributes, edit.family(), &edit.transaction);
  if (!subject) return std::unexpected(subject.error());
  if (auto changeable = check_changeable(*attributes, *subject->set); !changeable)
    return changeable;

  rules::ParseContext context{
      .ruleset = edit.ruleset, .transaction = edit.transaction, .table = subject->table};
  rules::ElementsEdit elements(edit.ruleset, edit.transaction, subject->set, NFT_MSG_NEWSETELEM,
                               edit.ruleset.now());
  for (const netlink::Attribute& nest : attributes->nested(NFTA_SET_ELEM_LIST_ELEMENTS)) {
    // Whatever is wrong with an element, the kernel blames the element as a whole.
    auto element = parse_element(nest, *subject->set, context);
    if (!element) {
      return std::unexpected(nest.error(element.error().code, element.error().text));
    }
    if (auto added = elements.add(std::move(*element), edit.has(NLM_F_EXCL)); !added) {
      return std::unexpected(nest.error(added.error().code, added.error().text));
    }
  }
  return {};
}

Result<void> delete_elements(Edit& edit) {
  const auto attributes = Attributes::parse(edit.attributes(), kList);
  if (!attributes) return std::unexpected(attributes.error());
  const auto subject = find_subject(edit.ruleset, *attributes, edit.family(), &edit.transaction);
  if (!subject) return std::unexpected(subject.error());
  if (auto changeable = check_changeable(*attributes, *subject->set); !changeable)
    return changeable;

  rules::ElementsEdit elements(edit.ruleset, edit.transaction, subject->set, NFT_MSG_DELSETELEM,
                               edit.ruleset.now());
  if (!attributes->has(NFTA_SET_ELEM_LIST_ELEMENTS)) {
    elements.flush();
    return {};
  }
  rules::ParseContext context{
      .ruleset = edit.ruleset, .transaction = edit.transaction, .table = subject->table};
  for (const netlink::Attribute& nest : attributes->nested(NFTA_SET_ELEM_LIST_ELEMENTS)) {
    const auto parsed = Attributes::parse(nest.nested(), kElement);
    if (!parsed) return std::unexpected(parsed.error());
    const auto key = parse_key(*parsed, *subject->set, context);
    if (!key) return std::unexpected(key.error());
    const auto removed = elements.remove(key->low, key->high, key->flags);
    if (removed || forgives(edit, removed.error())) continue;
    return std::unexpected(nest.error(removed.error().code, removed.error().text));
  }
  return {};
}

Result<void> get_elements(Query& query) {
  const auto attributes = Attributes::parse(query.attributes(), kList);
  if (!attributes) return std::unexpected(attributes.error());
  const auto subject = find_subject(query.ruleset, *attributes, query.family(), nullptr);
  if (!subject) return std::unexpected(subject.error());
  if (query.request.is_dump()) {
    return query.reply.start_dump(std::make_unique<ElementsDump>(
        query, query.ruleset.tables.share(subject->table), subject->set));
  }
  if (!attributes->has(NFTA_SET_ELEM_LIST_ELEMENTS)) {
    return std::unexpected(attributes->missing(NFTA_SET_ELEM_LIST_ELEMENTS));
  }
  for (const netlink::Attribute& nest : attributes->nested(NFTA_SET_ELEM_LIST_ELEMENTS)) {
    if (auto answered = get_one(query, *subject, nest); !answered) return answered;
  }
  return {};
}

/// One message an element, as the kernel sends them.
void write_elements_notice(netlink::Writer& writer, const Heading& heading,
                           const rules::Notice& notice) {
  const auto& elements = *static_cast<const rules::ElementsNotice*>(notice.detail.get());
  for (const auto& item : elements.items) {
    begin_list(writer, heading, *notice.table, *notice.set);
    {
      const auto list = writer.nest_plain(NFTA_SET_ELEM_LIST_ELEMENTS);
      write_element(writer, *notice.set, elements.view(*notice.set, item), rules::DumpMode::keep,
                    boot_time());
    }
    writer.end();
  }
}

}  // namespace weir::control::nftables
