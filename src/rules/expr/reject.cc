#include "rules/expr/reject.h"

#include <linux/netfilter/nf_tables.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>

#include <array>
#include <cerrno>

#include "rules/reject_sender.h"
#include "rules/ruleset.h"

namespace weir::rules {
namespace {

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_REJECT_TYPE, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_REJECT_ICMP_CODE, .kind = netlink::Kind::u8},
};

/// What a code of NFT_REJECT_ICMPX_* is called in each family.
struct FamilyCodes {
  std::uint8_t ip;
  std::uint8_t ip6;
};
constexpr std::array<FamilyCodes, NFT_REJECT_ICMPX_MAX + 1> kIcmpxCodes = {{
    {ICMP_NET_UNREACH, ICMP6_DST_UNREACH_NOROUTE},
    {ICMP_PORT_UNREACH, ICMP6_DST_UNREACH_NOPORT},
    {ICMP_HOST_UNREACH, ICMP6_DST_UNREACH_ADDR},
    {ICMP_PKT_FILTERED, ICMP6_DST_UNREACH_ADMIN},
}};

class Reject final : public Expression {
 public:
  Reject(nft_reject_types type, std::uint8_t code) : type_(type), code_(code) {}

  const ExpressionKind& kind() const override { return kReject; }

  void eval(Registers& registers, Context& context) const override {
    packet::Packet& packet = *context.packet;
    if (context.reject != nullptr && packet.family != wire::Family::none)
      answer(packet, *context.reject);
    packet.drop = packet::Drop::rejected;
    registers.verdict.code = VerdictCode::drop;
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    writer.put_be32(NFTA_REJECT_TYPE, static_cast<std::uint32_t>(type_));
    if (type_ != NFT_REJECT_TCP_RST) writer.put_u8(NFTA_REJECT_ICMP_CODE, code_);
  }

  Result<void> validate(Validation& validation) const override {
    std::uint32_t hooks = hook_bit(Hook::input) | hook_bit(Hook::forward) | hook_bit(Hook::output) |
                          hook_bit(Hook::prerouting);
    if (validation.family == Family::inet) hooks |= hook_bit(Hook::ingress);
    if (validation.family == Family::netdev) hooks = hook_bit(Hook::ingress);
    return validation.require_hooks(hooks);
  }

 private:
  void answer(packet::Packet& packet, RejectSender& sender) const {
    if (type_ == NFT_REJECT_TCP_RST) return sender.reject_tcp_reset(packet);
    const bool is_ip = packet.family == wire::Family::ip;
    const std::uint8_t type = is_ip ? ICMP_DEST_UNREACH : ICMP6_DST_UNREACH;
    std::uint8_t code = code_;
    if (type_ == NFT_REJECT_ICMPX_UNREACH)
      code = is_ip ? kIcmpxCodes[code_].ip : kIcmpxCodes[code_].ip6;
    sender.reject_icmp(packet, type, code);
  }

  nft_reject_types type_;
  std::uint8_t code_;
};

Result<std::unique_ptr<Expression>> parse(netlink::Region region, ParseContext&) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const std::uint32_t type = attributes->be32(NFTA_REJECT_TYPE).host();
  if (type > NFT_REJECT_ICMPX_UNREACH)
    return std::unexpected(attributes->error(NFTA_REJECT_TYPE, EINVAL, "unknown kind of reject"));
  if (type != NFT_REJECT_TCP_RST && !attributes->has(NFTA_REJECT_ICMP_CODE))
    return std::unexpected(attributes->missing(NFTA_REJECT_ICMP_CODE));
  const std::uint8_t code = attributes->u8(NFTA_REJECT_ICMP_CODE);
  if (type == NFT_REJECT_ICMPX_UNREACH && code > NFT_REJECT_ICMPX_MAX)
    return std::unexpected(attributes->error(NFTA_REJECT_ICMP_CODE, EINVAL, "unknown icmpx code"));
  return std::make_unique<Reject>(static_cast<nft_reject_types>(type), code);
}

}  // namespace

const ExpressionKind kReject = {.name = "reject", .parse = parse};

}  // namespace weir::rules
