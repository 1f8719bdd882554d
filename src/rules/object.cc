#include "rules/object.h"

#include <linux/netfilter/nf_tables.h>

#include <cerrno>

#include "rules/ct_timeout.h"
#include "rules/expr/limit.h"
#include "rules/expr/quota.h"

namespace weir::rules {
namespace {

constexpr std::string_view kTypeNames[] = {
    "unspecified", "counter",    "quota",   "ct helper",      "limit",    "connlimit",
    "tunnel",      "ct timeout", "secmark", "ct expectation", "synproxy",
};

class ObjectAdded final : public Change {
 public:
  ObjectAdded(Table& table, Object& object) : table_(table), object_(object) {}
  void commit() override {}
  void undo() override {
    --table_.use;
    table_.objects.erase(object_);
  }

 private:
  Table& table_;
  Object& object_;
};

class ObjectDeleted final : public Change {
 public:
  ObjectDeleted(Ruleset& ruleset, Table& table, std::shared_ptr<Object> object)
      : ruleset_(ruleset), table_(table), object_(std::move(object)) {}
  void commit() override { ruleset_.retire(std::move(object_)); }
  void undo() override {
    ++table_.use;
    table_.objects.show(*object_);
  }

 private:
  Ruleset& ruleset_;
  Table& table_;
  std::shared_ptr<Object> object_;
};

}  // namespace

std::string object_key(std::uint32_t type, std::string_view name) {
  std::string key(1, static_cast<char>(type));
  key += name;
  return key;
}

Result<std::shared_ptr<Object>> Object::parse(std::uint32_t type, netlink::Region data,
                                              Family family, Ruleset& ruleset) {
  Result<Tally> tally;
  Result<State> state;
  Result<std::unique_ptr<CtObject>> ct;
  switch (type) {
    case NFT_OBJECT_COUNTER:
      tally = parse_tally(data);
      break;
    case NFT_OBJECT_QUOTA:
      state = parse_quota(data);
      break;
    case NFT_OBJECT_LIMIT:
      state = parse_limit(data);
      break;
    case NFT_OBJECT_CT_HELPER:
      ct = parse_ct_helper(data, family);
      break;
    case NFT_OBJECT_CT_TIMEOUT:
      ct = parse_ct_timeout(data, family, ruleset);
      break;
    case NFT_OBJECT_CT_EXPECT:
      ct = parse_ct_expectation(data, family);
      break;
    default: {
      const std::string name =
          type < std::size(kTypeNames) ? std::string(kTypeNames[type]) : std::to_string(type);
      return std::unexpected(Error{EOPNOTSUPP, "weir has no objects of type " + name});
    }
  }
  if (!tally) return std::unexpected(tally.error());
  if (!state) return std::unexpected(state.error());
  if (!ct) return std::unexpected(ct.error());
  const std::size_t workers = ruleset.epochs().participants();
  return std::make_shared<Object>(type, workers, *tally, *state, std::move(*ct));
}

void Object::eval(Registers& registers, Context& context) {
  if (ct_) return ct_->eval(registers, context);
  switch (type) {
    case NFT_OBJECT_COUNTER:
      counter_.count(context);
      break;
    case NFT_OBJECT_QUOTA: {
      const bool is_over = consume_quota(state_, context);
      if (is_over != state_.is_inverted) registers.fail();
      if (is_over && state_.read(1) == 0) state_.word(1).store(1, std::memory_order_relaxed);
      break;
    }
    default:
      if (!pass_limit(state_, context)) registers.fail();
  }
}

void Object::dump(netlink::Writer& writer, DumpMode mode) {
  if (ct_) return ct_->dump(writer);
  switch (type) {
    case NFT_OBJECT_COUNTER:
      write_tally(writer, mode == DumpMode::reset ? counter_.reset() : counter_.total());
      break;
    case NFT_OBJECT_QUOTA:
      write_quota(writer, state_, mode);
      break;
    default:
      write_limit(writer, state_);
  }
}

bool Object::take_depleted() {
  if (type != NFT_OBJECT_QUOTA || state_.read(1) != 1) return false;
  state_.word(1).store(2, std::memory_order_relaxed);  // Known and told; a reset makes it zero.
  return true;
}

Object& add_object(Ruleset& ruleset, Transaction& transaction, Table& table,
                   std::shared_ptr<Object> object) {
  Object& added = *object;
  added.table = &table;
  added.handle = table.next_handle();
  table.objects.add(object);
  ++table.use;
  transaction.record<ObjectAdded>(table, added);
  Notice notice{.message = NFT_MSG_NEWOBJ};
  notice.table = ruleset.tables.share(table);
  notice.object = std::move(object);
  transaction.notify(std::move(notice));
  return added;
}

void delete_object(Ruleset& ruleset, Transaction& transaction, Table& table, Object& object) {
  auto shared = table.objects.share(object);
  table.objects.hide(object);
  --table.use;
  transaction.record<ObjectDeleted>(ruleset, table, shared);
  Notice notice{.message = NFT_MSG_DELOBJ};
  notice.table = ruleset.tables.share(table);
  notice.object = std::move(shared);
  transaction.notify(std::move(notice));
}

}  // namespace weir::rules
