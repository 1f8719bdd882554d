#include "rules/expr/meta.h"

#include <linux/netfilter/nf_tables.h>

#include <cerrno>
#include <string>

#include "rules/compiled.h"
#include "rules/data.h"
#include "rules/expr/meta_read.h"
#include "rules/ruleset.h"

namespace weir::rules {
namespace {

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_META_DREG, .kind = netlink::Kind::u32},
    {.type = NFTA_META_KEY, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_META_SREG, .kind = netlink::Kind::u32},
};

class MetaRead final : public Expression {
 public:
  MetaRead(std::uint32_t key, RegisterIndex destination) : key_(key), destination_(destination) {}

  const ExpressionKind& kind() const override { return kMeta; }

  void eval(Registers& registers, Context& context) const override {
    if (!read_meta(key_, context, registers, destination_)) registers.fail();
  }

  bool compile(Op& op) const override {
    switch (key_) {
      case NFT_META_L4PROTO:
        op = {.kind = Op::Kind::load_protocol, .at = destination_};
        return true;
      case NFT_META_NFPROTO:
        op = {.kind = Op::Kind::load_family, .at = destination_};
        return true;
      case NFT_META_IIFNAME:
        op = {.kind = Op::Kind::load_in_name, .at = destination_};
        return true;
      case NFT_META_OIFNAME:
        op = {.kind = Op::Kind::load_out_name, .at = destination_};
        return true;
      default:
        return false;
    }
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    writer.put_be32(NFTA_META_KEY, key_);
    write_register(writer, NFTA_META_DREG, destination_);
  }

 private:
  std::uint32_t key_;
  RegisterIndex destination_;
};

class MetaWrite final : public Expression {
 public:
  MetaWrite(std::uint32_t key, RegisterIndex source) : key_(key), source_(source) {}

  const ExpressionKind& kind() const override { return kMeta; }

  void eval(Registers& registers, Context& context) const override {
    packet::Packet& packet = *context.packet;
    switch (key_) {
      case NFT_META_MARK:
        packet.mark = registers.u32(source_);
        break;
      case NFT_META_PRIORITY:
        packet.priority = registers.u32(source_);
        break;
      case NFT_META_NFTRACE:
        packet.is_traced = registers.u8(source_) != 0;
        break;
      case NFT_META_PKTTYPE:
        set_link_type(packet, registers.u8(source_));
        break;
    }
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    writer.put_be32(NFTA_META_KEY, key_);
    write_register(writer, NFTA_META_SREG, source_);
  }

  Result<void> validate(Validation& validation) const override {
    if (key_ != NFT_META_PKTTYPE) return {};
    return validation.require_hooks(
        hook_bit(validation.family == Family::netdev ? Hook::ingress : Hook::prerouting));
  }

 private:
  static void set_link_type(packet::Packet& packet, std::uint8_t type) {
    constexpr auto kLast = packet::LinkType::other_host;
    if (type <= static_cast<std::uint8_t>(kLast) && packet.link_type <= kLast) {
      packet.link_type = static_cast<packet::LinkType>(type);
    }
  }

  std::uint32_t key_;
  RegisterIndex source_;
};

std::unexpected<Error> refuse(const netlink::Attributes& attributes, const char* what) {
  return std::unexpected(
      attributes.error(NFTA_META_KEY, EOPNOTSUPP,
                       std::string(what) + std::to_string(attributes.be32(NFTA_META_KEY).host())));
}

/// Bytes that the key takes from its register; zero when it can't be set.
std::size_t written_bytes(std::uint32_t key) {
  switch (key) {
    case NFT_META_MARK:
    case NFT_META_PRIORITY:
      return 4;
    case NFT_META_NFTRACE:
    case NFT_META_PKTTYPE:
      return 1;
    default:
      return 0;
  }
}

Result<std::unique_ptr<Expression>> parse(netlink::Region region, ParseContext&) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());

  const std::uint32_t key = attributes->be32(NFTA_META_KEY).host();
  const bool reads = attributes->has(NFTA_META_DREG);
  if (reads && attributes->has(NFTA_META_SREG)) {
    return std::unexpected(
        attributes->error(NFTA_META_DREG, EINVAL, "both a source and a destination"));
  }
  if (reads) {
    const std::size_t bytes = meta_bytes(key);
    if (bytes == 0) return refuse(*attributes, "weir can't read meta key ");
    const auto destination = parse_destination(attributes->find(NFTA_META_DREG), bytes);
    if (!destination) return std::unexpected(destination.error());
    return std::make_unique<MetaRead>(key, *destination);
  }
  if (!attributes->has(NFTA_META_SREG)) return std::unexpected(attributes->missing(NFTA_META_SREG));
  const std::size_t bytes = written_bytes(key);
  if (bytes == 0) return refuse(*attributes, "weir can't set meta key ");
  const auto source = parse_source(attributes->find(NFTA_META_SREG), bytes);
  if (!source) return std::unexpected(source.error());
  return std::make_unique<MetaWrite>(key, *source);
}

}  // namespace

const ExpressionKind kMeta = {.name = "meta", .parse = parse};

}  // namespace weir::rules
