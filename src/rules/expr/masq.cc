#include "rules/expr/masq.h"

#include <linux/netfilter/nf_tables.h>

#include <cerrno>

#include "nat/nat.h"
#include "routing/database.h"
#include "rules/data.h"
#include "rules/expr/ip_ends.h"
#include "rules/expr/nat_ports.h"
#include "rules/ruleset.h"

namespace weir::rules {
namespace {

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_MASQ_FLAGS, .kind = netlink::Kind::u32, .mask = nat::Range::kAllFlags},
    {.type = NFTA_MASQ_REG_PROTO_MIN, .kind = netlink::Kind::u32},
    {.type = NFTA_MASQ_REG_PROTO_MAX, .kind = netlink::Kind::u32},
};

class Masq final : public Expression {
 public:
  Masq(std::uint32_t flags, const NatPorts& ports) : flags_(flags), ports_(ports) {}

  const ExpressionKind& kind() const override { return kMasq; }

  void eval(Registers& registers, Context& context) const override {
    const Services& services = *context.services;
    packet::Packet& packet = *context.packet;
    if (services.nat == nullptr || services.routing == nullptr || context.entry() == 0)
      return registers.fail();
    registers.verdict.code = VerdictCode::drop;
    const wire::Address address = services.routing->view().interface_address(
        packet.out_ifindex, packet.family, towards(packet));
    if (address.is_zero()) {  // The interface has no address to show.
      packet.drop = packet::Drop::nat_no_tuple;
      return;
    }
    nat::Range range;
    range.flags = flags_;
    ports_.read(registers, range);
    if (services.nat->masquerade(services.conntrack->tracker(context.worker), packet, range,
                                 address, context.now))
      registers.verdict.code = VerdictCode::accept;
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    if (flags_ != 0) writer.put_be32(NFTA_MASQ_FLAGS, flags_);
    ports_.dump(writer, NFTA_MASQ_REG_PROTO_MIN, NFTA_MASQ_REG_PROTO_MAX);
  }

  Result<void> validate(Validation& validation) const override {
    if (const auto type = validation.require_type(ChainType::nat); !type) return type;
    return validation.require_hooks(hook_bit(Hook::postrouting));
  }

 private:
  /// IPv4 prefers the address in the gateway's subnet, IPv6 the one that suits the destination.
  static wire::Address towards(const packet::Packet& packet) {
    if (packet.family == wire::Family::ip && packet.next_hop_family == wire::Family::ip)
      return packet.next_hop;
    return ip_ends(packet).dst;
  }

  std::uint32_t flags_;
  NatPorts ports_;
};

Result<std::unique_ptr<Expression>> parse(netlink::Region region, ParseContext&) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const auto ports = NatPorts::parse(*attributes, NFTA_MASQ_REG_PROTO_MIN, NFTA_MASQ_REG_PROTO_MAX);
  if (!ports) return std::unexpected(ports.error());
  std::uint32_t flags = attributes->be32(NFTA_MASQ_FLAGS).host();
  if (ports->are_given()) flags |= nat::Range::kPortsSpecified;
  return std::make_unique<Masq>(flags, *ports);
}

}  // namespace

const ExpressionKind kMasq = {.name = "masq", .parse = parse};

}  // namespace weir::rules
