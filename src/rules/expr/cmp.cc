#include "rules/expr/cmp.h"

#include <linux/netfilter/nf_tables.h>

#include <cerrno>
#include <cstring>

#include "rules/compiled.h"
#include "rules/data.h"

namespace weir::rules {
namespace {

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_CMP_SREG, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_CMP_OP, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_CMP_DATA, .kind = netlink::Kind::nested, .required = true},
};

/// Compares bytes as memcmp does, so ordered comparisons want network order.
class Cmp final : public Expression {
 public:
  Cmp(RegisterIndex source, nft_cmp_ops operation, const Data& data)
      : data_(data), operation_(operation), source_(source) {}

  const ExpressionKind& kind() const override { return kCmp; }

  void eval(Registers& registers, Context&) const override {
    const int order = std::memcmp(registers.bytes(source_), data_.value.data(), data_.length);
    if (!holds(order)) registers.fail();
  }

  bool compile(Op& op) const override {
    if (operation_ != NFT_CMP_EQ && operation_ != NFT_CMP_NEQ) return false;
    if (data_.length > 4) {
      op = {
          .kind = operation_ == NFT_CMP_EQ ? Op::Kind::match_bytes : Op::Kind::mismatch_bytes,
          .at = source_,
          .length = data_.length,
          .bytes = data_.value.data(),
      };
      return true;
    }
    constexpr std::array<std::uint8_t, 4> kOnes = {0xff, 0xff, 0xff, 0xff};
    op = {.kind = operation_ == NFT_CMP_EQ ? Op::Kind::match : Op::Kind::mismatch, .at = source_};
    std::memcpy(&op.mask, kOnes.data(), data_.length);
    std::memcpy(&op.value, data_.value.data(), data_.length);
    return true;
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    write_register(writer, NFTA_CMP_SREG, source_);
    writer.put_be32(NFTA_CMP_OP, operation_);
    write_data(writer, NFTA_CMP_DATA, data_);
  }

 private:
  bool holds(int order) const {
    switch (operation_) {
      case NFT_CMP_EQ:
        return order == 0;
      case NFT_CMP_NEQ:
        return order != 0;
      case NFT_CMP_LT:
        return order < 0;
      case NFT_CMP_LTE:
        return order <= 0;
      case NFT_CMP_GT:
        return order > 0;
      case NFT_CMP_GTE:
        return order >= 0;
    }
    return false;
  }

  Data data_;
  nft_cmp_ops operation_;
  RegisterIndex source_;
};

Result<std::unique_ptr<Expression>> parse(netlink::Region region, ParseContext& context) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());

  const std::uint32_t operation = attributes->be32(NFTA_CMP_OP).host();
  if (operation > NFT_CMP_GTE) {
    return std::unexpected(attributes->error(NFTA_CMP_OP, EINVAL, "unknown comparison"));
  }
  const auto data = parse_data(attributes->find(NFTA_CMP_DATA), context);
  if (!data) return std::unexpected(data.error());
  if (data->is_verdict) {
    return std::unexpected(attributes->error(NFTA_CMP_DATA, EINVAL, "verdicts can't be compared"));
  }
  const auto source = parse_source(attributes->find(NFTA_CMP_SREG), data->length);
  if (!source) return std::unexpected(source.error());
  return std::make_unique<Cmp>(*source, static_cast<nft_cmp_ops>(operation), *data);
}

}  // namespace

const ExpressionKind kCmp = {.name = "cmp", .parse = parse};

}  // namespace weir::rules
