#include "rules/expr/redir.h"

#include <linux/if_addr.h>
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
    {.type = NFTA_REDIR_REG_PROTO_MIN, .kind = netlink::Kind::u32},
    {.type = NFTA_REDIR_REG_PROTO_MAX, .kind = netlink::Kind::u32},
    {.type = NFTA_REDIR_FLAGS, .kind = netlink::Kind::u32, .mask = nat::Range::kAllFlags},
};

wire::Address loopback(wire::Family family) {
  wire::Address address;
  if (family == wire::Family::ip) return wire::Address::ip(0x7f000001);
  address.bytes[15] = 1;
  return address;
}

bool is_link_local(const wire::Address& address) {
  return address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
}

/// Whether a host would be reached by this address of its own (nf_nat_redirect.c).
bool is_fit(const routing::InterfaceAddress& own, wire::Family family, const wire::Address& dst) {
  if (own.family != family) return false;
  if (family == wire::Family::ip) return true;
  const bool is_tentative =
      (own.flags & IFA_F_TENTATIVE) != 0 && (own.flags & IFA_F_OPTIMISTIC) == 0;
  return !is_tentative && is_link_local(own.local) == is_link_local(dst);
}

class Redir final : public Expression {
 public:
  Redir(std::uint32_t flags, const NatPorts& ports) : flags_(flags), ports_(ports) {}

  const ExpressionKind& kind() const override { return kRedir; }

  void eval(Registers& registers, Context& context) const override {
    const Services& services = *context.services;
    packet::Packet& packet = *context.packet;
    if (services.nat == nullptr || services.routing == nullptr || context.entry() == 0)
      return registers.fail();
    registers.verdict.code = VerdictCode::drop;
    const wire::Address address = own_address(context);
    if (address.is_zero()) {  // The interface has no address to redirect to.
      packet.drop = packet::Drop::nat_no_tuple;
      return;
    }
    nat::Range range = nat::Range::to(address);
    range.flags |= flags_;
    ports_.read(registers, range);
    if (services.nat->setup(services.conntrack->tracker(context.worker), packet, nat::Manip::dst,
                            range, context.now))
      registers.verdict.code = VerdictCode::accept;
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    ports_.dump(writer, NFTA_REDIR_REG_PROTO_MIN, NFTA_REDIR_REG_PROTO_MAX);
    if (flags_ != 0) writer.put_be32(NFTA_REDIR_FLAGS, flags_);
  }

  Result<void> validate(Validation& validation) const override {
    if (const auto type = validation.require_type(ChainType::nat); !type) return type;
    return validation.require_hooks(hook_bit(Hook::prerouting) | hook_bit(Hook::output));
  }

 private:
  /// The first address of the interface that the packet came in by; what the host sends stays on
  /// it.
  static wire::Address own_address(const Context& context) {
    const packet::Packet& packet = *context.packet;
    if (context.hook == Hook::output) return loopback(packet.family);
    const wire::Address dst = ip_ends(packet).dst;
    for (const auto& own : context.services->routing->view().addresses(context.in_ifindex()))
      if (is_fit(own, packet.family, dst)) return own.local;
    return {};
  }

  std::uint32_t flags_;
  NatPorts ports_;
};

Result<std::unique_ptr<Expression>> parse(netlink::Region region, ParseContext&) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const auto ports =
      NatPorts::parse(*attributes, NFTA_REDIR_REG_PROTO_MIN, NFTA_REDIR_REG_PROTO_MAX);
  if (!ports) return std::unexpected(ports.error());
  std::uint32_t flags = attributes->be32(NFTA_REDIR_FLAGS).host();
  if (ports->are_given()) flags |= nat::Range::kPortsSpecified;
  return std::make_unique<Redir>(flags, *ports);
}

}  // namespace

const ExpressionKind kRedir = {.name = "redir", .parse = parse};

}  // namespace weir::rules
