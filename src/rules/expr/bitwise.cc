#include "rules/expr/bitwise.h"

#include <linux/netfilter/nf_tables.h>

#include <cerrno>

#include "rules/compiled.h"
#include "rules/data.h"

namespace weir::rules {
namespace {

constexpr std::uint32_t kBooleanOrShift = NFT_BITWISE_RSHIFT;

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_BITWISE_SREG, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_BITWISE_DREG, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_BITWISE_LEN, .kind = netlink::Kind::u32, .required = true, .max_value = 255},
    {.type = NFTA_BITWISE_MASK, .kind = netlink::Kind::nested},
    {.type = NFTA_BITWISE_XOR, .kind = netlink::Kind::nested},
    {.type = NFTA_BITWISE_OP, .kind = netlink::Kind::u32},
    {.type = NFTA_BITWISE_DATA, .kind = netlink::Kind::nested},
};

/// (source & mask) ^ xor, or a shift of the whole value, taken as words in host order of which the
/// first is the most significant (as the kernel's, for values that were converted by `byteorder`).
class Bitwise final : public Expression {
 public:
  struct Operation {
    nft_bitwise_ops what = NFT_BITWISE_BOOL;
    std::uint8_t length = 0;
    RegisterIndex source = 0;
    RegisterIndex destination = 0;
    Data mask;
    Data exclusive_or;
    Data shift;
  };
  explicit Bitwise(Operation operation) : operation_(std::move(operation)) {}

  const ExpressionKind& kind() const override { return kBitwise; }

  void eval(Registers& registers, Context&) const override {
    switch (operation_.what) {
      case NFT_BITWISE_BOOL:
        return combine(registers);
      case NFT_BITWISE_LSHIFT:
        return shift_left(registers);
      case NFT_BITWISE_RSHIFT:
        return shift_right(registers);
    }
  }

  bool compile(Op& op) const override {
    if (operation_.what != NFT_BITWISE_BOOL || operation_.length != 4) return false;
    op = {.kind = Op::Kind::combine,
          .at = operation_.destination,
          .from = operation_.source,
          .mask = word(operation_.mask, 0),
          .value = word(operation_.exclusive_or, 0)};
    return true;
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    write_register(writer, NFTA_BITWISE_SREG, operation_.source);
    write_register(writer, NFTA_BITWISE_DREG, operation_.destination);
    writer.put_be32(NFTA_BITWISE_LEN, operation_.length);
    writer.put_be32(NFTA_BITWISE_OP, operation_.what);
    if (operation_.what == NFT_BITWISE_BOOL) {
      write_data(writer, NFTA_BITWISE_MASK, operation_.mask);
      write_data(writer, NFTA_BITWISE_XOR, operation_.exclusive_or);
    } else {
      write_data(writer, NFTA_BITWISE_DATA, operation_.shift);
    }
  }

 private:
  std::size_t words() const { return (operation_.length + 3u) / 4; }
  static std::uint32_t word(const Data& data, std::size_t i) {
    return load<std::uint32_t>(data.value.data() + i * 4);
  }

  void combine(Registers& registers) const {
    for (std::size_t i = 0; i < words(); ++i) {
      registers.words[operation_.destination + i] =
          (registers.words[operation_.source + i] & word(operation_.mask, i)) ^
          word(operation_.exclusive_or, i);
    }
  }

  void shift_left(Registers& registers) const {
    const std::uint32_t bits = word(operation_.shift, 0);
    std::uint32_t carry = 0;
    for (std::size_t i = words(); i-- > 0;) {
      const std::uint32_t value = registers.words[operation_.source + i];
      registers.words[operation_.destination + i] = value << bits | carry;
      carry = bits == 0 ? 0 : value >> (32 - bits);
    }
  }

  void shift_right(Registers& registers) const {
    const std::uint32_t bits = word(operation_.shift, 0);
    std::uint32_t carry = 0;
    for (std::size_t i = 0; i < words(); ++i) {
      const std::uint32_t value = registers.words[operation_.source + i];
      registers.words[operation_.destination + i] = carry | value >> bits;
      carry = bits == 0 ? 0 : value << (32 - bits);
    }
  }

  Operation operation_;
};

Result<Data> parse_operand(const netlink::Attributes& attributes, std::uint16_t type,
                           ParseContext& context, std::size_t length) {
  if (!attributes.has(type)) return std::unexpected(attributes.missing(type));
  auto data = parse_data(attributes.find(type), context);
  if (data && (data->is_verdict || data->length != length)) {
    return std::unexpected(attributes.error(type, EINVAL, "the operand has another length"));
  }
  return data;
}

Result<void> parse_operands(const netlink::Attributes& attributes, ParseContext& context,
                            Bitwise::Operation& operation) {
  if (operation.what == NFT_BITWISE_BOOL) {
    if (attributes.has(NFTA_BITWISE_DATA)) {
      return std::unexpected(
          attributes.error(NFTA_BITWISE_DATA, EINVAL, "a mask operation takes no shift"));
    }
    auto mask = parse_operand(attributes, NFTA_BITWISE_MASK, context, operation.length);
    if (!mask) return std::unexpected(mask.error());
    auto exclusive_or = parse_operand(attributes, NFTA_BITWISE_XOR, context, operation.length);
    if (!exclusive_or) return std::unexpected(exclusive_or.error());
    operation.mask = std::move(*mask);
    operation.exclusive_or = std::move(*exclusive_or);
    return {};
  }
  if (attributes.has(NFTA_BITWISE_MASK) || attributes.has(NFTA_BITWISE_XOR)) {
    return std::unexpected(attributes.error(NFTA_BITWISE_OP, EINVAL, "a shift takes no mask"));
  }
  auto shift = parse_operand(attributes, NFTA_BITWISE_DATA, context, sizeof(std::uint32_t));
  if (!shift) return std::unexpected(shift.error());
  if (load<std::uint32_t>(shift->value.data()) >= 32) {
    return std::unexpected(
        attributes.error(NFTA_BITWISE_DATA, EINVAL, "a shift by more than 31 bits"));
  }
  operation.shift = std::move(*shift);
  return {};
}

Result<std::unique_ptr<Expression>> parse(netlink::Region region, ParseContext& context) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());

  Bitwise::Operation operation;
  operation.length = static_cast<std::uint8_t>(attributes->be32(NFTA_BITWISE_LEN).host());
  const auto source = parse_source(attributes->find(NFTA_BITWISE_SREG), operation.length);
  if (!source) return std::unexpected(source.error());
  const auto destination = parse_destination(attributes->find(NFTA_BITWISE_DREG), operation.length);
  if (!destination) return std::unexpected(destination.error());
  operation.source = *source;
  operation.destination = *destination;

  const std::uint32_t what = attributes->be32(NFTA_BITWISE_OP).host();
  if (what > kBooleanOrShift) {
    return std::unexpected(attributes->error(NFTA_BITWISE_OP, EOPNOTSUPP,
                                             "weir has no bitwise operation on two registers"));
  }
  operation.what = static_cast<nft_bitwise_ops>(what);
  if (auto result = parse_operands(*attributes, context, operation); !result) {
    return std::unexpected(result.error());
  }
  return std::make_unique<Bitwise>(std::move(operation));
}

}  // namespace

const ExpressionKind kBitwise = {.name = "bitwise", .parse = parse};

}  // namespace weir::rules
