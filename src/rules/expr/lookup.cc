#include "rules/expr/lookup.h"

#include <linux/netfilter/nf_tables.h>

#include <cerrno>
#include <optional>

#include "rules/data.h"
#include "rules/set_edit.h"

namespace weir::rules {
namespace {

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_LOOKUP_SET,
     .kind = netlink::Kind::string,
     .required = true,
     .max_bytes = NFT_SET_MAXNAMELEN - 1},
    {.type = NFTA_LOOKUP_SREG, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_LOOKUP_DREG, .kind = netlink::Kind::u32},
    {.type = NFTA_LOOKUP_SET_ID, .kind = netlink::Kind::u32},
    {.type = NFTA_LOOKUP_FLAGS, .kind = netlink::Kind::u32},
};

class Lookup final : public Expression {
 public:
  struct Operands {
    RegisterIndex source = 0;
    RegisterIndex destination = 0;
    bool has_destination = false;
    bool is_inverted = false;
  };

  Lookup(std::shared_ptr<Set> set, const Operands& operands)
      : set_(std::move(set)), operands_(operands) {}

  const ExpressionKind& kind() const override { return kLookup; }

  void eval(Registers& registers, Context& context) const override {
    const Body found = set_->find(registers.bytes(operands_.source), view_of(context));
    if (static_cast<bool>(found) == operands_.is_inverted) {
      registers.fail();
      return;
    }
    if (!found) return;
    if (operands_.has_destination) {
      if (set_->is_verdict_map()) {
        registers.verdict = found.verdict();
        // The element counts although the verdict ends the rule.
        Verdict verdict = std::exchange(registers.verdict, Verdict{});
        found.eval_states(registers, context);
        if (registers.verdict.code == VerdictCode::next) registers.verdict = verdict;
        return;
      }
      registers.set(operands_.destination, {found.value(), set_->layout().data_bytes});
    }
    found.eval_states(registers, context);
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    writer.put_string(NFTA_LOOKUP_SET, set_->name());
    write_register(writer, NFTA_LOOKUP_SREG, operands_.source);
    if (operands_.has_destination) {
      if (set_->is_verdict_map()) {
        writer.put_be32(NFTA_LOOKUP_DREG, static_cast<std::uint32_t>(NFT_REG_VERDICT));
      } else {
        write_register(writer, NFTA_LOOKUP_DREG, operands_.destination);
      }
    }
    writer.put_be32(NFTA_LOOKUP_FLAGS,
                    operands_.is_inverted ? std::uint32_t{NFT_LOOKUP_F_INV} : 0u);
  }

  void hold() override { bind_set(*set_); }
  void release() override { unbind_set(*set_); }
  const Set* bound_set() const override { return set_.get(); }

  Result<void> validate(Validation& validation) const override {
    if (!operands_.has_destination || !set_->is_verdict_map()) return {};
    struct Walk {
      Validation& validation;
      Result<void> result;
    } walk{validation, {}};
    set_->walk_staged(
        {.now = {}, .generation = sets::kNever - 1},
        [](void* context, const ElementView& element) {
          Walk& it = *static_cast<Walk*>(context);
          const ElementExtra* const extra = element.body.extra();
          if (it.result && extra && extra->target.chain) {
            it.result = it.validation.enter(*extra->target.chain);
          }
          return true;
        },
        &walk);
    return walk.result;
  }

 private:
  std::shared_ptr<Set> set_;
  Operands operands_;
};

Result<std::unique_ptr<Expression>> parse(netlink::Region region, ParseContext& context) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const auto set = find_set(*attributes, NFTA_LOOKUP_SET, NFTA_LOOKUP_SET_ID, context);
  if (!set) return std::unexpected(set.error());

  Lookup::Operands operands;
  const auto source =
      parse_source(attributes->find(NFTA_LOOKUP_SREG), (*set)->description().key_bytes);
  if (!source) return std::unexpected(source.error());
  operands.source = *source;

  const std::uint32_t flags = attributes->be32(NFTA_LOOKUP_FLAGS).host();
  if (flags & ~NFT_LOOKUP_F_INV) {
    return std::unexpected(
        attributes->error(NFTA_LOOKUP_FLAGS, EINVAL, "unknown flag of a look-up"));
  }
  operands.is_inverted = flags & NFT_LOOKUP_F_INV;

  if (attributes->has(NFTA_LOOKUP_DREG)) {
    const auto blame = [&](const char* text) {
      return std::unexpected(attributes->error(NFTA_LOOKUP_DREG, EINVAL, text));
    };
    if (operands.is_inverted) return blame("an inverted look-up has no result");
    if (!(*set)->is_map()) return blame("the set is not a map");
    operands.has_destination = true;
    if ((*set)->is_verdict_map() != is_verdict_register(attributes->find(NFTA_LOOKUP_DREG))) {
      return blame("verdicts, and only verdicts, go to the verdict register");
    }
    if (!(*set)->is_verdict_map()) {
      const auto destination =
          parse_destination(attributes->find(NFTA_LOOKUP_DREG), (*set)->description().data_bytes);
      if (!destination) return std::unexpected(destination.error());
      operands.destination = *destination;
    }
  }
  return std::make_unique<Lookup>(*set, operands);
}

}  // namespace

const ExpressionKind kLookup = {.name = "lookup", .parse = parse};

Result<std::shared_ptr<Set>> find_set(const netlink::Attributes& attributes,
                                      std::uint16_t name_type, std::uint16_t id_type,
                                      const ParseContext& context) {
  Set* set = context.table.sets.find(attributes.string(name_type));
  if (!set && attributes.has(id_type)) {
    set = context.transaction.find_set(context.table, attributes.be32(id_type).host());
    if (set && !context.table.sets.is_shown(*set)) set = nullptr;
  }
  if (!set)
    return std::unexpected(attributes.error(name_type, ENOENT, "the table has no such set"));
  if (is_bound_anonymous(*set)) {
    return std::unexpected(
        attributes.error(name_type, EBUSY, "another rule has this anonymous set"));
  }
  return context.table.sets.share(*set);
}

}  // namespace weir::rules
