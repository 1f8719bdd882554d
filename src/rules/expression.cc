#include "rules/expression.h"

#include <linux/netfilter/nf_tables.h>

#include <cerrno>
#include <string>

#include "rules/ruleset.h"

namespace weir::rules {
namespace {

constexpr netlink::Rule kExpression[] = {
    {.type = NFTA_EXPR_NAME, .kind = netlink::Kind::string, .required = true, .max_bytes = 31},
    {.type = NFTA_EXPR_DATA, .kind = netlink::Kind::nested},
};

}  // namespace

const ExpressionKind* find_expression_kind(std::string_view name) {
  for (const ExpressionKind* kind : expression_kinds()) {
    if (kind->name == name) return kind;
  }
  return nullptr;
}

Result<std::unique_ptr<Expression>> parse_expression(const netlink::Attribute& nest,
                                                     ParseContext& context) {
  const auto attributes = netlink::Attributes::parse(nest.nested(), kExpression);
  if (!attributes) return std::unexpected(attributes.error());
  const std::string_view name = attributes->string(NFTA_EXPR_NAME);
  const ExpressionKind* kind = find_expression_kind(name);
  if (!kind) {
    return std::unexpected(attributes->error(
        NFTA_EXPR_NAME, EOPNOTSUPP, "weir has no expression \"" + std::string(name) + "\""));
  }
  return kind->parse(attributes->nested(NFTA_EXPR_DATA), context);
}

void write_expression(netlink::Writer& writer, const Expression& expression, DumpMode mode) {
  writer.put_string(NFTA_EXPR_NAME, expression.kind().name);
  if (!expression.kind().has_data) return;
  const auto nest = writer.nest_plain(NFTA_EXPR_DATA);
  expression.dump(writer, mode);
}

Result<void> Validation::require_hooks(std::uint32_t allowed) const {
  if ((hooks & ~allowed) == 0) return {};
  return std::unexpected(Error{EOPNOTSUPP, "an expression does not work at this chain's hook"});
}

Result<void> Validation::require_type(ChainType required) const {
  if (type == required) return {};
  return std::unexpected(
      Error{EOPNOTSUPP, "an expression needs a chain of type " + std::string(name_of(required))});
}

}  // namespace weir::rules
