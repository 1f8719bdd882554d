#include "rules/expr/ct.h"

#include <linux/netfilter/nf_tables.h>

#include <cerrno>
#include <optional>

#include "conntrack/tracker.h"
#include "rules/compiled.h"
#include "rules/data.h"
#include "rules/expr/ct_read.h"
#include "rules/ruleset.h"

namespace weir::rules {
namespace {

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_CT_DREG, .kind = netlink::Kind::u32},
    {.type = NFTA_CT_KEY, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_CT_DIRECTION, .kind = netlink::Kind::u8},
    {.type = NFTA_CT_SREG, .kind = netlink::Kind::u32},
};

class CtRead final : public Expression {
 public:
  CtRead(const CtQuestion& question, RegisterIndex destination)
      : question_(question), destination_(destination) {}

  const ExpressionKind& kind() const override { return kCt; }

  void eval(Registers& registers, Context& context) const override {
    if (!read_ct(question_, context, registers, destination_)) registers.fail();
  }

  bool compile(Op& op) const override {
    if (question_.key != NFT_CT_STATE) return false;
    op = {.kind = Op::Kind::load_state, .at = destination_};
    return true;
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    write_register(writer, NFTA_CT_DREG, destination_);
    writer.put_be32(NFTA_CT_KEY, question_.key);
    if (question_.shows_direction()) writer.put_u8(NFTA_CT_DIRECTION, *question_.direction);
  }

 private:
  CtQuestion question_;
  RegisterIndex destination_;
};

class CtMarkWrite final : public Expression {
 public:
  explicit CtMarkWrite(RegisterIndex source) : source_(source) {}

  const ExpressionKind& kind() const override { return kCt; }

  void eval(Registers& registers, Context& context) const override {
    if (context.entry() == 0 || context.services->conntrack == nullptr) return;
    context.services->conntrack->tracker(context.worker)
        .set_mark(*context.packet, registers.u32(source_));
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    write_register(writer, NFTA_CT_SREG, source_);
    writer.put_be32(NFTA_CT_KEY, static_cast<std::uint32_t>(NFT_CT_MARK));
  }

 private:
  RegisterIndex source_;
};

/// Names the zone that tracking, which comes later, looks for the connection in; nothing for a
/// packet that has been tracked or is not to be.
class CtZoneWrite final : public Expression {
 public:
  CtZoneWrite(std::optional<std::uint8_t> direction, RegisterIndex source)
      : direction_(direction), source_(source) {}

  const ExpressionKind& kind() const override { return kCt; }

  void eval(Registers& registers, Context& context) const override {
    packet::CtRef& ct = context.packet->ct;
    if (ct.state != packet::CtState::not_tracked_yet) return;
    constexpr std::uint8_t kBothDirections = 3;
    ct.zone = registers.u16(source_);
    ct.zone_directions =
        direction_ ? static_cast<std::uint8_t>(1u << *direction_) : kBothDirections;
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    write_register(writer, NFTA_CT_SREG, source_);
    writer.put_be32(NFTA_CT_KEY, static_cast<std::uint32_t>(NFT_CT_ZONE));
    if (direction_) writer.put_u8(NFTA_CT_DIRECTION, *direction_);
  }

 private:
  std::optional<std::uint8_t> direction_;
  RegisterIndex source_;
};

using Parsed = Result<std::unique_ptr<Expression>>;

std::unexpected<Error> refuse(const netlink::Attributes& attributes, std::uint32_t key) {
  const char* text = "ct has no such key";
  switch (key) {
    case NFT_CT_LABELS:
      text = "weir's connections have no labels (ct label)";
      break;
    case NFT_CT_SECMARK:
      text = "weir has no security marks (ct secmark)";
      break;
    case NFT_CT_EVENTMASK:
      text = "weir has no event mask per connection (ct event)";
      break;
    case NFT_CT_SRC:
    case NFT_CT_DST:
      text = "ct saddr and daddr work on IP packets only";
      break;
  }
  return std::unexpected(attributes.error(NFTA_CT_KEY, EOPNOTSUPP, text));
}

Parsed parse_read(const netlink::Attributes& attributes, const CtQuestion& question,
                  Family family) {
  const auto bad_direction = [&](const char* text) {
    return std::unexpected(attributes.error(NFTA_CT_DIRECTION, EINVAL, text));
  };
  const std::size_t bytes = ct_bytes(question.key, family);
  if (bytes == 0) return refuse(attributes, question.key);
  switch (direction_use(question.key)) {
    case DirectionUse::never:
      if (question.direction) return bad_direction("this ct key has no direction");
      break;
    case DirectionUse::always:
      if (!question.direction) return std::unexpected(attributes.missing(NFTA_CT_DIRECTION));
      break;
    case DirectionUse::optional:
      break;
  }
  const auto destination = parse_destination(attributes.find(NFTA_CT_DREG), bytes);
  if (!destination) return std::unexpected(destination.error());
  return std::make_unique<CtRead>(question, *destination);
}

Parsed parse_write(const netlink::Attributes& attributes, const CtQuestion& question) {
  if (question.key != NFT_CT_MARK && question.key != NFT_CT_ZONE)
    return refuse(attributes, question.key);
  const bool is_mark = question.key == NFT_CT_MARK;
  if (is_mark && question.direction) {
    return std::unexpected(
        attributes.error(NFTA_CT_DIRECTION, EINVAL, "this ct key has no direction"));
  }
  const auto source = parse_source(attributes.find(NFTA_CT_SREG), is_mark ? 4 : 2);
  if (!source) return std::unexpected(source.error());
  if (is_mark) return std::make_unique<CtMarkWrite>(*source);
  return std::make_unique<CtZoneWrite>(question.direction, *source);
}

Parsed parse(netlink::Region region, ParseContext& context) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const bool is_read = attributes->has(NFTA_CT_DREG);
  if (is_read == attributes->has(NFTA_CT_SREG))
    return std::unexpected(Error{EINVAL, "ct wants either a source or a destination register"});

  CtQuestion question{.key = attributes->be32(NFTA_CT_KEY).host(), .direction = {}};
  if (attributes->has(NFTA_CT_DIRECTION)) {
    question.direction = attributes->u8(NFTA_CT_DIRECTION);
    if (*question.direction > static_cast<std::uint8_t>(conntrack::Direction::reply))
      return std::unexpected(attributes->error(NFTA_CT_DIRECTION, EINVAL, "no such direction"));
  }
  return is_read ? parse_read(*attributes, question, context.table.family)
                 : parse_write(*attributes, question);
}

}  // namespace

const ExpressionKind kCt = {.name = "ct", .parse = parse};

}  // namespace weir::rules
