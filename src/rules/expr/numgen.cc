#include "rules/expr/numgen.h"

#include <linux/netfilter/nf_tables.h>

#include <atomic>
#include <cerrno>

#include "base/random.h"
#include "rules/data.h"

namespace weir::rules {
namespace {

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_NG_DREG, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_NG_MODULUS, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_NG_TYPE, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_NG_OFFSET, .kind = netlink::Kind::u32},
};

struct Operands {
  RegisterIndex destination = 0;
  std::uint32_t modulus = 1;
  std::uint32_t type = NFT_NG_INCREMENTAL;
  std::uint32_t offset = 0;
};

class Numgen final : public Expression {
 public:
  explicit Numgen(const Operands& operands) : operands_(operands) {
    if (operands.type == NFT_NG_RANDOM) {
      next_.store(random_key().low, std::memory_order_relaxed);
    }
  }

  const ExpressionKind& kind() const override { return kNumgen; }

  void eval(Registers& registers, Context&) const override {
    const std::uint64_t turn = next_.fetch_add(1, std::memory_order_relaxed);
    const std::uint32_t number = operands_.type == NFT_NG_INCREMENTAL
                                     ? static_cast<std::uint32_t>(turn % operands_.modulus)
                                     : scale(mixed(turn));
    registers.set_u32(operands_.destination, number + operands_.offset);
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    write_register(writer, NFTA_NG_DREG, operands_.destination);
    writer.put_be32(NFTA_NG_MODULUS, operands_.modulus);
    writer.put_be32(NFTA_NG_TYPE, operands_.type);
    writer.put_be32(NFTA_NG_OFFSET, operands_.offset);
  }

 private:
  /// SplitMix64 (Steele, Lea, Flood 2014): spreads a counter over all 64 bits.
  static std::uint64_t mixed(std::uint64_t turn) {
    std::uint64_t z = turn * 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
  }
  std::uint32_t scale(std::uint64_t random) const {
    return static_cast<std::uint32_t>((random >> 32) * operands_.modulus >> 32);
  }

  Operands operands_;
  mutable std::atomic<std::uint64_t> next_{0};
};

Result<std::unique_ptr<Expression>> parse(netlink::Region region, ParseContext&) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  Operands operands{.destination = 0,
                    .modulus = attributes->be32(NFTA_NG_MODULUS).host(),
                    .type = attributes->be32(NFTA_NG_TYPE).host(),
                    .offset = attributes->be32(NFTA_NG_OFFSET).host()};
  if (operands.type > NFT_NG_RANDOM) {
    return std::unexpected(attributes->error(NFTA_NG_TYPE, EINVAL, "unknown kind of generator"));
  }
  if (operands.modulus == 0) {
    return std::unexpected(attributes->error(NFTA_NG_MODULUS, ERANGE, "a modulus of zero"));
  }
  if (operands.offset + operands.modulus - 1 < operands.offset) {
    return std::unexpected(
        attributes->error(NFTA_NG_OFFSET, EOVERFLOW, "offset and modulus exceed 32 bits"));
  }
  const auto destination = parse_destination(attributes->find(NFTA_NG_DREG), sizeof(std::uint32_t));
  if (!destination) return std::unexpected(destination.error());
  operands.destination = *destination;
  return std::make_unique<Numgen>(operands);
}

}  // namespace

const ExpressionKind kNumgen = {.name = "numgen", .parse = parse};

}  // namespace weir::rules
