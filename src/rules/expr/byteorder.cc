#include "rules/expr/byteorder.h"

#include <linux/netfilter/nf_tables.h>

#include <cerrno>

#include "base/endian.h"
#include "rules/data.h"

namespace weir::rules {
namespace {

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_BYTEORDER_SREG, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_BYTEORDER_DREG, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_BYTEORDER_OP, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_BYTEORDER_LEN, .kind = netlink::Kind::u32, .required = true, .max_value = 255},
    {.type = NFTA_BYTEORDER_SIZE, .kind = netlink::Kind::u32, .required = true, .max_value = 255},
};

/// Swaps each unit of `size` bytes. On the machines that weir runs on, host to network and back are
/// the same work.
class Byteorder final : public Expression {
 public:
  struct Operation {
    nft_byteorder_ops direction;
    std::uint8_t length;
    std::uint8_t size;
    RegisterIndex source;
    RegisterIndex destination;
  };
  explicit Byteorder(const Operation& operation) : operation_(operation) {}

  const ExpressionKind& kind() const override { return kByteorder; }

  void eval(Registers& registers, Context&) const override {
    switch (operation_.size) {
      case 2:
        return swap<std::uint16_t>(registers);
      case 4:
        return swap<std::uint32_t>(registers);
      default:
        return swap<std::uint64_t>(registers);
    }
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    write_register(writer, NFTA_BYTEORDER_SREG, operation_.source);
    write_register(writer, NFTA_BYTEORDER_DREG, operation_.destination);
    writer.put_be32(NFTA_BYTEORDER_OP, operation_.direction);
    writer.put_be32(NFTA_BYTEORDER_LEN, operation_.length);
    writer.put_be32(NFTA_BYTEORDER_SIZE, operation_.size);
  }

 private:
  template <typename T>
  void swap(Registers& registers) const {
    const std::uint8_t* from = registers.bytes(operation_.source);
    std::uint8_t* to = registers.bytes(operation_.destination);
    for (std::size_t i = 0; i + sizeof(T) <= operation_.length; i += sizeof(T)) {
      store(to + i, BigEndian<T>{load<T>(from + i)}.host());
    }
  }

  Operation operation_;
};

Result<std::unique_ptr<Expression>> parse(netlink::Region region, ParseContext&) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());

  const std::uint32_t direction = attributes->be32(NFTA_BYTEORDER_OP).host();
  const std::uint32_t length = attributes->be32(NFTA_BYTEORDER_LEN).host();
  const std::uint32_t size = attributes->be32(NFTA_BYTEORDER_SIZE).host();
  if (direction > NFT_BYTEORDER_HTON) {
    return std::unexpected(attributes->error(NFTA_BYTEORDER_OP, EINVAL, "unknown direction"));
  }
  if (size != 2 && size != 4 && size != 8) {
    return std::unexpected(attributes->error(NFTA_BYTEORDER_SIZE, EINVAL, "not 2, 4 or 8 bytes"));
  }
  const auto source = parse_source(attributes->find(NFTA_BYTEORDER_SREG), length);
  if (!source) return std::unexpected(source.error());
  const auto destination = parse_destination(attributes->find(NFTA_BYTEORDER_DREG), length);
  if (!destination) return std::unexpected(destination.error());
  return std::make_unique<Byteorder>(
      Byteorder::Operation{.direction = static_cast<nft_byteorder_ops>(direction),
                           .length = static_cast<std::uint8_t>(length),
                           .size = static_cast<std::uint8_t>(size),
                           .source = *source,
                           .destination = *destination});
}

}  // namespace

const ExpressionKind kByteorder = {.name = "byteorder", .parse = parse};

}  // namespace weir::rules
