#include "rules/expr/immediate.h"

#include <linux/netfilter/nf_tables.h>

#include <cerrno>

#include "rules/compiled.h"
#include "rules/data.h"
#include "rules/ruleset.h"

namespace weir::rules {
namespace {

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_IMMEDIATE_DREG, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_IMMEDIATE_DATA, .kind = netlink::Kind::nested, .required = true},
};

class Immediate final : public Expression {
 public:
  Immediate(Data data, RegisterIndex destination)
      : data_(std::move(data)), destination_(destination) {}

  const ExpressionKind& kind() const override { return kImmediate; }

  void eval(Registers& registers, Context&) const override {
    if (data_.is_verdict) {
      registers.verdict = data_.verdict;
    } else {
      registers.set(destination_, data_.bytes());
    }
  }

  bool compile(Op& op) const override {
    if (!data_.is_verdict) return false;
    op = {.kind = Op::Kind::decide, .verdict = data_.verdict};
    return true;
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    if (data_.is_verdict) {
      writer.put_be32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    } else {
      write_register(writer, NFTA_IMMEDIATE_DREG, destination_);
    }
    write_data(writer, NFTA_IMMEDIATE_DATA, data_);
  }

  /// A binding chain (`jump { … }`) belongs to this rule alone: it leaves with it and comes back
  /// with it.
  void hold() override {
    data_.hold();
    if (!binds()) return;
    Chain& chain = *data_.chain;
    chain.is_bound = true;
    if (chain.table->chains.is_shown(chain)) return;
    chain.table->chains.show(chain);
    ++chain.table->use;
    chain.for_each_rule([](Rule& rule) { rule.hold(); });
  }

  void release() override {
    data_.release();
    if (!binds()) return;
    Chain& chain = *data_.chain;
    chain.for_each_rule([](Rule& rule) { rule.release(); });
    --chain.table->use;
    chain.table->chains.hide(chain);
  }

  Result<void> validate(Validation& validation) const override {
    if (!data_.chain) return {};
    return validation.enter(*data_.chain);
  }

 private:
  bool binds() const { return data_.chain && data_.chain->is_binding(); }

  Data data_;
  RegisterIndex destination_;
};

Result<std::unique_ptr<Expression>> parse(netlink::Region region, ParseContext& context) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  auto data = parse_data(attributes->find(NFTA_IMMEDIATE_DATA), context);
  if (!data) return std::unexpected(data.error());

  const auto target = attributes->find(NFTA_IMMEDIATE_DREG);
  if (is_verdict_register(target) != data->is_verdict) {
    return std::unexpected(
        target.error(EINVAL, "verdicts go into the verdict register, only they"));
  }
  RegisterIndex destination = 0;
  if (!data->is_verdict) {
    const auto parsed = parse_destination(target, data->length);
    if (!parsed) return std::unexpected(parsed.error());
    destination = *parsed;
  }
  return std::make_unique<Immediate>(std::move(*data), destination);
}

}  // namespace

const ExpressionKind kImmediate = {.name = "immediate", .parse = parse};

}  // namespace weir::rules
