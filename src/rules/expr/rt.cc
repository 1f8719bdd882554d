#include "rules/expr/rt.h"

#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <cerrno>

#include "routing/database.h"
#include "rules/data.h"
#include "rules/expr/ip_ends.h"
#include "rules/ruleset.h"

namespace weir::rules {
namespace {

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_RT_DREG, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_RT_KEY, .kind = netlink::Kind::u32, .required = true},
};

constexpr std::uint16_t kDefaultMss = 536;  // RFC 9293 section 3.7.1.
constexpr std::uint32_t kTcpHeaderBytes = 20;

std::uint32_t ip_header_bytes(wire::Family family) { return family == wire::Family::ip ? 20 : 40; }

class Rt final : public Expression {
 public:
  Rt(nft_rt_keys key, RegisterIndex destination) : key_(key), destination_(destination) {}

  const ExpressionKind& kind() const override { return kRt; }

  void eval(Registers& registers, Context& context) const override {
    const packet::Packet& packet = *context.packet;
    if (packet.next_hop_family == wire::Family::none) return registers.fail();  // Not routed yet.
    switch (key_) {
      case NFT_RT_NEXTHOP4:
        return store_next_hop(registers, packet, wire::Family::ip);
      case NFT_RT_NEXTHOP6:
        return store_next_hop(registers, packet, wire::Family::ip6);
      case NFT_RT_TCPMSS:
        return registers.set_u16(destination_, mss(context));
      // No packet of weir's goes through IPsec.
      case NFT_RT_XFRM:
        return registers.set_u8(destination_, 0);
      default:
        return registers.fail();
    }
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    writer.put_be32(NFTA_RT_KEY, static_cast<std::uint32_t>(key_));
    write_register(writer, NFTA_RT_DREG, destination_);
  }

  Result<void> validate(Validation& validation) const override {
    if (key_ != NFT_RT_TCPMSS) return {};
    return validation.require_hooks(hook_bit(Hook::forward) | hook_bit(Hook::output) |
                                    hook_bit(Hook::postrouting));
  }

 private:
  void store_next_hop(Registers& registers, const packet::Packet& packet,
                      wire::Family family) const {
    if (packet.family != family) return registers.fail();
    // A gateway of the other family leaves the destination itself, as in rt_nexthop().
    const wire::Address hop =
        packet.next_hop_family == family ? packet.next_hop : ip_ends(packet).dst;
    registers.set(destination_, hop.view(family));
  }

  /// What a segment may carry both ways: the MTU of the route that the packet takes and of the one
  /// back.
  static std::uint16_t mss(const Context& context) {
    const packet::Packet& packet = *context.packet;
    std::uint32_t mtu = packet.path_mtu;
    if (context.services->routing != nullptr) {
      const routing::Route back = context.services->routing->view().lookup(
          {.family = packet.family, .dst = ip_ends(packet).src});
      if (back.is_found() && back.mtu != 0) mtu = std::min(mtu, back.mtu);
    }
    const std::uint32_t headers = ip_header_bytes(packet.family) + kTcpHeaderBytes;
    if (mtu <= headers || mtu > 0xffff) return kDefaultMss;
    return static_cast<std::uint16_t>(mtu - headers);
  }

  nft_rt_keys key_;
  RegisterIndex destination_;
};

Result<std::unique_ptr<Expression>> parse(netlink::Region region, ParseContext& context) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const Family family = context.table.family;
  if (family != Family::ip && family != Family::ip6 && family != Family::inet)
    return std::unexpected(Error{EOPNOTSUPP, "rt works on routed IP packets only"});

  const std::uint32_t key = attributes->be32(NFTA_RT_KEY).host();
  std::size_t bytes = 0;
  switch (key) {
    case NFT_RT_NEXTHOP4:
      bytes = 4;
      break;
    case NFT_RT_NEXTHOP6:
      bytes = 16;
      break;
    case NFT_RT_TCPMSS:
      bytes = 2;
      break;
    case NFT_RT_XFRM:
      bytes = 1;
      break;
    case NFT_RT_CLASSID:
      return std::unexpected(
          attributes->error(NFTA_RT_KEY, EOPNOTSUPP, "weir's routes have no realm (rt classid)"));
    default:
      return std::unexpected(attributes->error(NFTA_RT_KEY, EOPNOTSUPP, "rt has no such key"));
  }
  const auto destination = parse_destination(attributes->find(NFTA_RT_DREG), bytes);
  if (!destination) return std::unexpected(destination.error());
  return std::make_unique<Rt>(static_cast<nft_rt_keys>(key), *destination);
}

}  // namespace

const ExpressionKind kRt = {.name = "rt", .parse = parse};

}  // namespace weir::rules
