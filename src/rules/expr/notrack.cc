#include "rules/expr/notrack.h"

namespace weir::rules {
namespace {

class Notrack final : public Expression {
 public:
  const ExpressionKind& kind() const override { return kNotrack; }

  void eval(Registers&, Context& context) const override {
    packet::CtRef& ct = context.packet->ct;
    if (ct.state == packet::CtState::not_tracked_yet) ct.state = packet::CtState::untracked;
  }

  void dump(netlink::Writer&, DumpMode) const override {}
};

Result<std::unique_ptr<Expression>> parse(netlink::Region, ParseContext&) {
  return std::make_unique<Notrack>();
}

}  // namespace

const ExpressionKind kNotrack = {.name = "notrack", .parse = parse, .has_data = false};

}  // namespace weir::rules
