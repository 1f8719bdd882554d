#include "rules/expr/objref.h"

#include <linux/netfilter/nf_tables.h>

#include <cerrno>

#include "rules/data.h"
#include "rules/expr/lookup.h"
#include "rules/object.h"
#include "rules/set_edit.h"

namespace weir::rules {
namespace {

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_OBJREF_IMM_TYPE, .kind = netlink::Kind::u32},
    {.type = NFTA_OBJREF_IMM_NAME,
     .kind = netlink::Kind::string,
     .max_bytes = NFT_OBJ_MAXNAMELEN - 1},
    {.type = NFTA_OBJREF_SET_SREG, .kind = netlink::Kind::u32},
    {.type = NFTA_OBJREF_SET_NAME,
     .kind = netlink::Kind::string,
     .max_bytes = NFT_SET_MAXNAMELEN - 1},
    {.type = NFTA_OBJREF_SET_ID, .kind = netlink::Kind::u32},
};

class Named final : public Expression {
 public:
  explicit Named(std::shared_ptr<Object> object) : object_(std::move(object)) {}

  const ExpressionKind& kind() const override { return kObjref; }
  void eval(Registers& registers, Context& context) const override {
    object_->eval(registers, context);
  }
  void dump(netlink::Writer& writer, DumpMode) const override {
    writer.put_string(NFTA_OBJREF_IMM_NAME, object_->name);
    writer.put_be32(NFTA_OBJREF_IMM_TYPE, object_->type);
  }
  void hold() override { ++object_->use; }
  void release() override { --object_->use; }

 private:
  std::shared_ptr<Object> object_;
};

class Mapped final : public Expression {
 public:
  Mapped(std::shared_ptr<Set> set, RegisterIndex source) : set_(std::move(set)), source_(source) {}

  const ExpressionKind& kind() const override { return kObjref; }
  void eval(Registers& registers, Context& context) const override {
    const Body found = set_->find(registers.bytes(source_), view_of(context));
    Object* const object = found ? found.object() : nullptr;
    if (object) {
      object->eval(registers, context);
    } else {
      registers.fail();
    }
  }
  void dump(netlink::Writer& writer, DumpMode) const override {
    write_register(writer, NFTA_OBJREF_SET_SREG, source_);
    writer.put_string(NFTA_OBJREF_SET_NAME, set_->name());
  }
  void hold() override { bind_set(*set_); }
  void release() override { unbind_set(*set_); }
  const Set* bound_set() const override { return set_.get(); }

 private:
  std::shared_ptr<Set> set_;
  RegisterIndex source_;
};

Result<std::unique_ptr<Expression>> parse_mapped(const netlink::Attributes& attributes,
                                                 ParseContext& context) {
  const auto set = find_set(attributes, NFTA_OBJREF_SET_NAME, NFTA_OBJREF_SET_ID, context);
  if (!set) return std::unexpected(set.error());
  if (!(*set)->has(NFT_SET_OBJECT)) {
    return std::unexpected(
        attributes.error(NFTA_OBJREF_SET_NAME, EINVAL, "the set maps to no objects"));
  }
  const auto source =
      parse_source(attributes.find(NFTA_OBJREF_SET_SREG), (*set)->description().key_bytes);
  if (!source) return std::unexpected(source.error());
  return std::make_unique<Mapped>(*set, *source);
}

Result<std::unique_ptr<Expression>> parse(netlink::Region region, ParseContext& context) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  if (attributes->has(NFTA_OBJREF_SET_SREG)) {
    if (!attributes->has(NFTA_OBJREF_SET_NAME))
      return std::unexpected(attributes->missing(NFTA_OBJREF_SET_NAME));
    return parse_mapped(*attributes, context);
  }
  for (const std::uint16_t needed : {NFTA_OBJREF_IMM_TYPE, NFTA_OBJREF_IMM_NAME}) {
    if (!attributes->has(needed)) return std::unexpected(attributes->missing(needed));
  }
  Object* const object = context.table.objects.find(object_key(
      attributes->be32(NFTA_OBJREF_IMM_TYPE).host(), attributes->string(NFTA_OBJREF_IMM_NAME)));
  if (!object) {
    return std::unexpected(
        attributes->error(NFTA_OBJREF_IMM_NAME, ENOENT, "the table has no such object"));
  }
  return std::make_unique<Named>(context.table.objects.share(*object));
}

}  // namespace

const ExpressionKind kObjref = {.name = "objref", .parse = parse};

}  // namespace weir::rules
