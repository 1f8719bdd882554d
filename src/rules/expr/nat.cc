#include "rules/expr/nat.h"

#include <linux/netfilter/nf_tables.h>

#include <cerrno>

#include "nat/nat.h"
#include "rules/data.h"
#include "rules/expr/nat_ports.h"
#include "rules/ruleset.h"

namespace weir::rules {
namespace {

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_NAT_TYPE, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_NAT_FAMILY, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_NAT_REG_ADDR_MIN, .kind = netlink::Kind::u32},
    {.type = NFTA_NAT_REG_ADDR_MAX, .kind = netlink::Kind::u32},
    {.type = NFTA_NAT_REG_PROTO_MIN, .kind = netlink::Kind::u32},
    {.type = NFTA_NAT_REG_PROTO_MAX, .kind = netlink::Kind::u32},
    {.type = NFTA_NAT_FLAGS, .kind = netlink::Kind::u32},
};

/// What the message says, register zero for what it leaves out.
struct Operands {
  nat::Manip manip = nat::Manip::src;
  Family family = Family::unspec;  // Of the addresses; inet for ports alone.
  std::uint32_t flags = 0;
  RegisterIndex min_address = 0;
  RegisterIndex max_address = 0;
  NatPorts ports;
};

class Nat final : public Expression {
 public:
  explicit Nat(const Operands& operands) : operands_(operands) {}

  const ExpressionKind& kind() const override { return kNat; }

  void eval(Registers& registers, Context& context) const override {
    const Services& services = *context.services;
    const bool is_ours =
        operands_.family == Family::inet || operands_.family == context.packet_family();
    if (!is_ours) return;  // As the kernel's inet variant: not a mismatch, nothing to do.
    if (services.nat == nullptr || context.entry() == 0) return registers.fail();

    nat::Range range;
    range.flags = operands_.flags;
    if (operands_.min_address != 0) {
      const std::size_t bytes = wire::address_bytes(context.packet->family);
      range.min_address = wire::Address::from(registers.view(operands_.min_address, bytes));
      range.max_address = wire::Address::from(registers.view(operands_.max_address, bytes));
    }
    operands_.ports.read(registers, range);
    const bool is_set_up =
        services.nat->setup(services.conntrack->tracker(context.worker), *context.packet,
                            operands_.manip, range, context.now);
    registers.verdict.code = is_set_up ? VerdictCode::accept : VerdictCode::drop;
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    const bool is_snat = operands_.manip == nat::Manip::src;
    writer.put_be32(NFTA_NAT_TYPE,
                    static_cast<std::uint32_t>(is_snat ? NFT_NAT_SNAT : NFT_NAT_DNAT));
    writer.put_be32(NFTA_NAT_FAMILY, static_cast<std::uint32_t>(operands_.family));
    if (operands_.min_address != 0) {
      write_register(writer, NFTA_NAT_REG_ADDR_MIN, operands_.min_address);
      write_register(writer, NFTA_NAT_REG_ADDR_MAX, operands_.max_address);
    }
    operands_.ports.dump(writer, NFTA_NAT_REG_PROTO_MIN, NFTA_NAT_REG_PROTO_MAX);
    if (operands_.flags != 0) writer.put_be32(NFTA_NAT_FLAGS, operands_.flags);
  }

  Result<void> validate(Validation& validation) const override {
    if (const auto type = validation.require_type(ChainType::nat); !type) return type;
    return validation.require_hooks(operands_.manip == nat::Manip::src
                                        ? hook_bit(Hook::postrouting) | hook_bit(Hook::input)
                                        : hook_bit(Hook::prerouting) | hook_bit(Hook::output));
  }

 private:
  Operands operands_;
};

/// The families as nft_nat_init checks them.
Result<Family> parse_family(const netlink::Attributes& attributes, const ParseContext& context) {
  const std::uint32_t value = attributes.be32(NFTA_NAT_FAMILY).host();
  const Family table = context.table.family;
  if (table != Family::inet && value != static_cast<std::uint32_t>(table)) {
    return std::unexpected(
        attributes.error(NFTA_NAT_FAMILY, EOPNOTSUPP, "not the family of the table"));
  }
  const auto family = static_cast<Family>(value);
  const bool has_address = attributes.has(NFTA_NAT_REG_ADDR_MIN);
  const bool is_ip = family == Family::ip || family == Family::ip6;
  if (!is_ip && (has_address || family != Family::inet)) {
    return std::unexpected(
        attributes.error(NFTA_NAT_FAMILY, EAFNOSUPPORT, "neither IPv4 nor IPv6"));
  }
  return family;
}

Result<void> parse_addresses(const netlink::Attributes& attributes, Operands& operands) {
  if (!attributes.has(NFTA_NAT_REG_ADDR_MIN)) return {};
  const std::size_t bytes = operands.family == Family::ip ? 4 : 16;
  const auto min = parse_source(attributes.find(NFTA_NAT_REG_ADDR_MIN), bytes);
  if (!min) return std::unexpected(min.error());
  operands.min_address = operands.max_address = *min;
  operands.flags |= nat::Range::kMapAddresses;
  if (!attributes.has(NFTA_NAT_REG_ADDR_MAX)) return {};
  const auto max = parse_source(attributes.find(NFTA_NAT_REG_ADDR_MAX), bytes);
  if (!max) return std::unexpected(max.error());
  operands.max_address = *max;
  return {};
}

Result<std::unique_ptr<Expression>> parse(netlink::Region region, ParseContext& context) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  if (!attributes->has(NFTA_NAT_REG_ADDR_MIN) && !attributes->has(NFTA_NAT_REG_PROTO_MIN))
    return std::unexpected(Error{EINVAL, "nat wants an address or a port"});
  const std::uint32_t type = attributes->be32(NFTA_NAT_TYPE).host();
  if (type > NFT_NAT_DNAT)
    return std::unexpected(attributes->error(NFTA_NAT_TYPE, EINVAL, "neither snat nor dnat"));

  Operands operands;
  operands.manip = type == NFT_NAT_SNAT ? nat::Manip::src : nat::Manip::dst;
  const auto family = parse_family(*attributes, context);
  if (!family) return std::unexpected(family.error());
  operands.family = *family;
  if (const auto read = parse_addresses(*attributes, operands); !read)
    return std::unexpected(read.error());
  const auto ports = NatPorts::parse(*attributes, NFTA_NAT_REG_PROTO_MIN, NFTA_NAT_REG_PROTO_MAX);
  if (!ports) return std::unexpected(ports.error());
  operands.ports = *ports;
  if (ports->are_given()) operands.flags |= nat::Range::kPortsSpecified;
  const std::uint32_t flags = attributes->be32(NFTA_NAT_FLAGS).host();
  if ((flags & ~nat::Range::kAllFlags) != 0)
    return std::unexpected(attributes->error(NFTA_NAT_FLAGS, EOPNOTSUPP, "unknown NAT flags"));
  operands.flags |= flags;
  return std::make_unique<Nat>(operands);
}

}  // namespace

const ExpressionKind kNat = {.name = "nat", .parse = parse};

}  // namespace weir::rules
