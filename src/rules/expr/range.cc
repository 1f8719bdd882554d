#include "rules/expr/range.h"

#include <linux/netfilter/nf_tables.h>

#include <cerrno>
#include <cstring>

#include "rules/data.h"

namespace weir::rules {
namespace {

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_RANGE_SREG, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_RANGE_OP, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_RANGE_FROM_DATA, .kind = netlink::Kind::nested, .required = true},
    {.type = NFTA_RANGE_TO_DATA, .kind = netlink::Kind::nested, .required = true},
};

/// Both ends belong to the range; bytes compare as memcmp does.
class Range final : public Expression {
 public:
  Range(RegisterIndex source, nft_range_ops operation, const Data& from, const Data& to)
      : from_(from), to_(to), operation_(operation), source_(source) {}

  const ExpressionKind& kind() const override { return kRange; }

  void eval(Registers& registers, Context&) const override {
    const std::uint8_t* value = registers.bytes(source_);
    const bool is_inside = std::memcmp(value, from_.value.data(), from_.length) >= 0 &&
                           std::memcmp(value, to_.value.data(), to_.length) <= 0;
    if (is_inside != (operation_ == NFT_RANGE_EQ)) registers.fail();
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    write_register(writer, NFTA_RANGE_SREG, source_);
    writer.put_be32(NFTA_RANGE_OP, operation_);
    write_data(writer, NFTA_RANGE_FROM_DATA, from_);
    write_data(writer, NFTA_RANGE_TO_DATA, to_);
  }

 private:
  Data from_;
  Data to_;
  nft_range_ops operation_;
  RegisterIndex source_;
};

Result<Data> parse_end(const netlink::Attributes& attributes, std::uint16_t type,
                       ParseContext& context) {
  auto data = parse_data(attributes.find(type), context);
  if (data && data->is_verdict) {
    return std::unexpected(attributes.error(type, EINVAL, "a range of verdicts"));
  }
  return data;
}

Result<std::unique_ptr<Expression>> parse(netlink::Region region, ParseContext& context) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());

  const auto from = parse_end(*attributes, NFTA_RANGE_FROM_DATA, context);
  if (!from) return std::unexpected(from.error());
  const auto to = parse_end(*attributes, NFTA_RANGE_TO_DATA, context);
  if (!to) return std::unexpected(to.error());
  if (from->length != to->length) {
    return std::unexpected(
        attributes->error(NFTA_RANGE_TO_DATA, EINVAL, "the ends differ in length"));
  }
  const std::uint32_t operation = attributes->be32(NFTA_RANGE_OP).host();
  if (operation > NFT_RANGE_NEQ) {
    return std::unexpected(attributes->error(NFTA_RANGE_OP, EINVAL, "unknown comparison"));
  }
  const auto source = parse_source(attributes->find(NFTA_RANGE_SREG), from->length);
  if (!source) return std::unexpected(source.error());
  return std::make_unique<Range>(*source, static_cast<nft_range_ops>(operation), *from, *to);
}

}  // namespace

const ExpressionKind kRange = {.name = "range", .parse = parse};

}  // namespace weir::rules
