#include "rules/expr/payload.h"

#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <cerrno>

#include "rules/compiled.h"
#include "rules/data.h"
#include "rules/expr/header_base.h"
#include "rules/expr/payload_write.h"

namespace weir::rules {
namespace {

constexpr std::uint64_t kOffsetMax = 255;
constexpr std::uint32_t kEthernetAddressBytes = 12;

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_PAYLOAD_DREG, .kind = netlink::Kind::u32},
    {.type = NFTA_PAYLOAD_BASE, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_PAYLOAD_OFFSET,
     .kind = netlink::Kind::u32,
     .required = true,
     .max_value = kOffsetMax},
    {.type = NFTA_PAYLOAD_LEN, .kind = netlink::Kind::u32, .required = true, .max_value = 255},
    {.type = NFTA_PAYLOAD_SREG, .kind = netlink::Kind::u32},
    {.type = NFTA_PAYLOAD_CSUM_TYPE, .kind = netlink::Kind::u32},
    {.type = NFTA_PAYLOAD_CSUM_OFFSET, .kind = netlink::Kind::u32, .max_value = 255},
    {.type = NFTA_PAYLOAD_CSUM_FLAGS, .kind = netlink::Kind::u32},
};

/// The link header as nft sees it: with the tags that ports have taken out of the frame back
/// between addresses and type.
bool copy_tagged(const packet::Packet& packet, const PayloadField& field, std::uint8_t* to) {
  std::array<std::uint8_t, 14 + 2 * 4> header;
  const std::size_t tags = std::min<std::size_t>(packet.vlan_count, packet.vlan.size());
  const auto tag_bytes = static_cast<std::uint32_t>(tags * 4);
  const std::uint32_t header_bytes = 14 + tag_bytes;
  if (packet.length < 14 || field.offset + field.length > header_bytes) return false;
  std::memcpy(header.data(), packet.frame(), kEthernetAddressBytes);
  for (std::size_t i = 0; i < tags; ++i) {
    store(header.data() + kEthernetAddressBytes + 4 * i, packet.vlan[i].protocol);
    store(header.data() + kEthernetAddressBytes + 4 * i + 2, Be16::from_host(packet.vlan[i].tci));
  }
  std::memcpy(header.data() + kEthernetAddressBytes + tag_bytes,
              packet.frame() + kEthernetAddressBytes, 2);
  std::memcpy(to, header.data() + field.offset, field.length);
  return true;
}

class PayloadRead final : public Expression {
 public:
  PayloadRead(const PayloadField& field, RegisterIndex destination)
      : field_(field), destination_(destination) {}

  const ExpressionKind& kind() const override { return kPayload; }

  void eval(Registers& registers, Context& context) const override {
    const packet::Packet& packet = *context.packet;
    if (field_.length % 4 != 0) registers.words[destination_ + field_.length / 4] = 0;
    if (field_.base == NFT_PAYLOAD_LL_HEADER && packet.vlan_count > 0) {
      if (!copy_tagged(packet, field_, registers.bytes(destination_))) registers.fail();
      return;
    }
    const auto base = base_offset(packet, field_.base);
    if (!base || *base + field_.offset + field_.length > readable_end(packet)) {
      return registers.fail();
    }
    std::memcpy(registers.bytes(destination_), packet.frame() + *base + field_.offset,
                field_.length);
  }

  bool compile(Op& op) const override {
    const bool is_transport = field_.base == NFT_PAYLOAD_TRANSPORT_HEADER;
    if (!is_transport && field_.base != NFT_PAYLOAD_NETWORK_HEADER) return false;
    op = {.kind = Op::Kind::load,
          .at = destination_,
          .is_transport = is_transport,
          .length = field_.length,
          .offset = field_.offset};
    return true;
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    write_register(writer, NFTA_PAYLOAD_DREG, destination_);
    writer.put_be32(NFTA_PAYLOAD_BASE, field_.base);
    writer.put_be32(NFTA_PAYLOAD_OFFSET, field_.offset);
    writer.put_be32(NFTA_PAYLOAD_LEN, field_.length);
  }

 private:
  PayloadField field_;
  RegisterIndex destination_;
};

class PayloadWrite final : public Expression {
 public:
  PayloadWrite(const PayloadField& field, const PayloadChecksum& checksum, RegisterIndex source)
      : field_(field), checksum_(checksum), source_(source) {}

  const ExpressionKind& kind() const override { return kPayload; }

  void eval(Registers& registers, Context& context) const override {
    const Bytes value = registers.view(source_, field_.length);
    if (!write_payload(*context.packet, field_, checksum_, value)) registers.fail();
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    write_register(writer, NFTA_PAYLOAD_SREG, source_);
    writer.put_be32(NFTA_PAYLOAD_BASE, field_.base);
    writer.put_be32(NFTA_PAYLOAD_OFFSET, field_.offset);
    writer.put_be32(NFTA_PAYLOAD_LEN, field_.length);
    writer.put_be32(NFTA_PAYLOAD_CSUM_TYPE, checksum_.type);
    writer.put_be32(NFTA_PAYLOAD_CSUM_OFFSET, checksum_.offset);
    writer.put_be32(NFTA_PAYLOAD_CSUM_FLAGS, checksum_.flags);
  }

 private:
  PayloadField field_;
  PayloadChecksum checksum_;
  RegisterIndex source_;
};

Result<std::unique_ptr<Expression>> parse_write(const netlink::Attributes& attributes,
                                                const PayloadField& field) {
  const PayloadChecksum checksum{.type = attributes.be32(NFTA_PAYLOAD_CSUM_TYPE).host(),
                                 .offset = attributes.be32(NFTA_PAYLOAD_CSUM_OFFSET).host(),
                                 .flags = attributes.be32(NFTA_PAYLOAD_CSUM_FLAGS).host()};
  if (checksum.flags & ~std::uint32_t{NFT_PAYLOAD_L4CSUM_PSEUDOHDR}) {
    return std::unexpected(
        attributes.error(NFTA_PAYLOAD_CSUM_FLAGS, EINVAL, "unknown checksum flags"));
  }
  if (checksum.type != NFT_PAYLOAD_CSUM_NONE && checksum.type != NFT_PAYLOAD_CSUM_INET) {
    return std::unexpected(attributes.error(NFTA_PAYLOAD_CSUM_TYPE, EOPNOTSUPP,
                                            "weir updates no checksum of this kind"));
  }
  const auto source = parse_source(attributes.find(NFTA_PAYLOAD_SREG), field.length);
  if (!source) return std::unexpected(source.error());
  return std::make_unique<PayloadWrite>(field, checksum, *source);
}

Result<std::unique_ptr<Expression>> parse(netlink::Region region, ParseContext&) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());

  const std::uint32_t base = attributes->be32(NFTA_PAYLOAD_BASE).host();
  if (base > NFT_PAYLOAD_INNER_HEADER) {
    return std::unexpected(
        attributes->error(NFTA_PAYLOAD_BASE, EOPNOTSUPP, "weir knows no such header base"));
  }
  const PayloadField field{
      .base = static_cast<std::uint8_t>(base),
      .length = static_cast<std::uint8_t>(attributes->be32(NFTA_PAYLOAD_LEN).host()),
      .offset = attributes->be32(NFTA_PAYLOAD_OFFSET).host()};
  if (attributes->has(NFTA_PAYLOAD_SREG)) {
    if (attributes->has(NFTA_PAYLOAD_DREG)) {
      return std::unexpected(
          attributes->error(NFTA_PAYLOAD_DREG, EINVAL, "both a source and a destination"));
    }
    return parse_write(*attributes, field);
  }
  if (!attributes->has(NFTA_PAYLOAD_DREG)) {
    return std::unexpected(attributes->missing(NFTA_PAYLOAD_DREG));
  }
  const auto destination = parse_destination(attributes->find(NFTA_PAYLOAD_DREG), field.length);
  if (!destination) return std::unexpected(destination.error());
  return std::make_unique<PayloadRead>(field, *destination);
}

}  // namespace

const ExpressionKind kPayload = {.name = "payload", .parse = parse};

}  // namespace weir::rules
