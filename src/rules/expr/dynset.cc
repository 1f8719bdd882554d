#include "rules/expr/dynset.h"

#include <linux/netfilter/nf_tables.h>

#include <cerrno>
#include <vector>

#include "rules/data.h"
#include "rules/expr/lookup.h"
#include "rules/set_edit.h"

namespace weir::rules {
namespace {

constexpr std::uint64_t kMillisecond = 1'000'000;

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_DYNSET_SET_NAME,
     .kind = netlink::Kind::string,
     .required = true,
     .max_bytes = NFT_SET_MAXNAMELEN - 1},
    {.type = NFTA_DYNSET_SET_ID, .kind = netlink::Kind::u32},
    {.type = NFTA_DYNSET_OP, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_DYNSET_SREG_KEY, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_DYNSET_SREG_DATA, .kind = netlink::Kind::u32},
    {.type = NFTA_DYNSET_TIMEOUT, .kind = netlink::Kind::u64},
    {.type = NFTA_DYNSET_EXPR, .kind = netlink::Kind::nested},
    {.type = NFTA_DYNSET_FLAGS, .kind = netlink::Kind::u32},
    {.type = NFTA_DYNSET_EXPRESSIONS, .kind = netlink::Kind::nested},
};

struct Operands {
  std::uint32_t operation = NFT_DYNSET_OP_ADD;
  RegisterIndex key = 0;
  RegisterIndex data = 0;
  bool is_inverted = false;
  std::uint64_t timeout_ms = 0;
};

class Dynset final : public Expression {
 public:
  using States = std::vector<std::unique_ptr<StatefulExpression>>;

  Dynset(std::shared_ptr<Set> set, const Operands& operands, States expressions)
      : set_(std::move(set)), operands_(operands), expressions_(std::move(expressions)) {
    for (const auto& each : expressions_.empty() ? set_->expressions() : expressions_) {
      states_.push_back(each->state());
    }
  }

  const ExpressionKind& kind() const override { return kDynset; }

  void eval(Registers& registers, Context& context) const override {
    const sets::View view = view_of(context);
    const std::uint8_t* const key = registers.bytes(operands_.key);
    if (operands_.operation == NFT_DYNSET_OP_DELETE) {
      set_->erase(key, view);
      return;
    }
    Set::Fresh fresh{
        .value = {},
        .states = states_,
        .timeout = Duration(static_cast<std::int64_t>(operands_.timeout_ms * kMillisecond))};
    if (set_->is_map()) fresh.value = registers.view(operands_.data, set_->layout().data_bytes);
    const Body element =
        set_->find_or_add(key, fresh, operands_.operation == NFT_DYNSET_OP_UPDATE, view);
    if (element) element.eval_states(registers, context);
    if (static_cast<bool>(element) == operands_.is_inverted) registers.fail();
  }

  void dump(netlink::Writer& writer, DumpMode mode) const override {
    write_register(writer, NFTA_DYNSET_SREG_KEY, operands_.key);
    if (set_->is_map()) write_register(writer, NFTA_DYNSET_SREG_DATA, operands_.data);
    writer.put_be32(NFTA_DYNSET_OP, operands_.operation);
    writer.put_string(NFTA_DYNSET_SET_NAME, set_->name());
    writer.put_be64(NFTA_DYNSET_TIMEOUT, operands_.timeout_ms);
    if (set_->expressions().empty() && expressions_.size() == 1) {
      const auto nest = writer.nest_plain(NFTA_DYNSET_EXPR);
      write_expression(writer, *expressions_[0], mode);
    } else if (set_->expressions().empty() && expressions_.size() > 1) {
      const auto list = writer.nest_plain(NFTA_DYNSET_EXPRESSIONS);
      for (const auto& expression : expressions_) {
        const auto nest = writer.nest_plain(NFTA_LIST_ELEM);
        write_expression(writer, *expression, mode);
      }
    }
    writer.put_be32(NFTA_DYNSET_FLAGS,
                    operands_.is_inverted ? std::uint32_t{NFT_DYNSET_F_INV} : 0u);
  }

  void hold() override {
    bind_set(*set_);
    set_->limit_size();
  }
  void release() override { unbind_set(*set_); }
  const Set* bound_set() const override { return set_.get(); }

 private:
  std::shared_ptr<Set> set_;
  Operands operands_;
  States expressions_;  // Its own; empty when the set has the say.
  std::vector<State> states_;
};

Error refuse(const netlink::Attributes& attributes, std::uint16_t type, int code,
             const char* text) {
  return attributes.error(type, code, text);
}

Result<Operands> parse_operands(const netlink::Attributes& attributes, const Set& set) {
  Operands operands;
  const std::uint32_t flags = attributes.be32(NFTA_DYNSET_FLAGS).host();
  if (flags & ~(NFT_DYNSET_F_INV | NFT_DYNSET_F_EXPR)) {
    return std::unexpected(refuse(attributes, NFTA_DYNSET_FLAGS, EOPNOTSUPP, "unknown flag"));
  }
  operands.is_inverted = flags & NFT_DYNSET_F_INV;

  operands.operation = attributes.be32(NFTA_DYNSET_OP).host();
  const bool needs_timeout = operands.operation == NFT_DYNSET_OP_UPDATE;
  if (operands.operation > NFT_DYNSET_OP_DELETE || (needs_timeout && !set.has(NFT_SET_TIMEOUT))) {
    return std::unexpected(refuse(attributes, NFTA_DYNSET_OP, EOPNOTSUPP,
                                  "only sets with the flag timeout can be updated"));
  }
  operands.timeout_ms = attributes.be64(NFTA_DYNSET_TIMEOUT).host();
  if (attributes.has(NFTA_DYNSET_TIMEOUT) && !set.has(NFT_SET_TIMEOUT)) {
    return std::unexpected(
        refuse(attributes, NFTA_DYNSET_TIMEOUT, EOPNOTSUPP, "the set has no flag timeout"));
  }
  const auto key = parse_source(attributes.find(NFTA_DYNSET_SREG_KEY), set.description().key_bytes);
  if (!key) return std::unexpected(key.error());
  operands.key = *key;

  if (attributes.has(NFTA_DYNSET_SREG_DATA)) {
    if (!set.is_map() || set.is_verdict_map()) {
      return std::unexpected(
          refuse(attributes, NFTA_DYNSET_SREG_DATA, EOPNOTSUPP, "the set is no map of values"));
    }
    const auto data =
        parse_source(attributes.find(NFTA_DYNSET_SREG_DATA), set.description().data_bytes);
    if (!data) return std::unexpected(data.error());
    operands.data = *data;
  } else if (set.is_map()) {
    return std::unexpected(Error{EINVAL, "a new element of a map needs a value"});
  }
  return operands;
}

Result<Dynset::States> parse_expressions(const netlink::Attributes& attributes, const Set& set,
                                         ParseContext& context) {
  auto parsed = attributes.has(NFTA_DYNSET_EXPR)
                    ? parse_element_expression(attributes.find(NFTA_DYNSET_EXPR), context)
                    : parse_element_expressions(attributes.find(NFTA_DYNSET_EXPRESSIONS), context);
  if (!parsed) return parsed;
  if (!parsed->empty() && !set.has(NFT_SET_EVAL)) {
    return std::unexpected(Error{EINVAL, "the set has no flag dynamic"});
  }
  if (auto fits = check_expressions(set, *parsed); !fits) return std::unexpected(fits.error());
  return parsed;
}

Result<std::unique_ptr<Expression>> parse(netlink::Region region, ParseContext& context) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const auto set = find_set(*attributes, NFTA_DYNSET_SET_NAME, NFTA_DYNSET_SET_ID, context);
  if (!set) return std::unexpected(set.error());
  if (!(*set)->is_updatable() || (*set)->has(NFT_SET_OBJECT)) {
    return std::unexpected(refuse(*attributes, NFTA_DYNSET_SET_NAME, EOPNOTSUPP,
                                  "packets can't change a set of intervals or objects"));
  }
  if ((*set)->has(NFT_SET_CONSTANT)) {
    return std::unexpected(refuse(*attributes, NFTA_DYNSET_SET_NAME, EBUSY, "the set is constant"));
  }
  const auto operands = parse_operands(*attributes, **set);
  if (!operands) return std::unexpected(operands.error());
  auto expressions = parse_expressions(*attributes, **set, context);
  if (!expressions) return std::unexpected(expressions.error());
  return std::make_unique<Dynset>(*set, *operands, std::move(*expressions));
}

}  // namespace

const ExpressionKind kDynset = {.name = "dynset", .parse = parse};

}  // namespace weir::rules
