#include "rules/expr/fib.h"

#include <linux/netfilter/nf_tables.h>
#include <net/if.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "routing/database.h"
#include "rules/data.h"
#include "rules/expr/ip_ends.h"
#include "rules/ruleset.h"

namespace weir::rules {
namespace {

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_FIB_DREG, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_FIB_RESULT, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_FIB_FLAGS,
     .kind = netlink::Kind::u32,
     .required = true,
     .mask = NFTA_FIB_F_SADDR | NFTA_FIB_F_DADDR | NFTA_FIB_F_MARK | NFTA_FIB_F_IIF |
             NFTA_FIB_F_OIF | NFTA_FIB_F_PRESENT},
};

bool is_broadcast(const wire::Address& address) { return address.v4().raw == 0xffffffff; }
bool is_multicast(const wire::Address& address) { return (address.bytes[0] & 0xf0) == 0xe0; }
/// 224.0.0.0/24 (RFC 5771).
bool is_local_multicast(const wire::Address& address) {
  return address.bytes[0] == 224 && address.bytes[1] == 0 && address.bytes[2] == 0;
}
bool is_link_local(const wire::Address& address) {
  return address.bytes[0] == 0xfe && (address.bytes[1] & 0xc0) == 0x80;
}

/// Nobody has a route to these; they ask as "any source" (nft_fib_ipv4.c, get_saddr).
wire::Address as_source(const wire::Address& address) {
  return is_multicast(address) || is_broadcast(address) ? wire::Address{} : address;
}

class Fib final : public Expression {
 public:
  Fib(nft_fib_result result, std::uint32_t flags, RegisterIndex destination)
      : result_(result), flags_(flags), destination_(destination) {}

  const ExpressionKind& kind() const override { return kFib; }

  void eval(Registers& registers, Context& context) const override {
    const packet::Packet& packet = *context.packet;
    const routing::Database* const database = context.services->routing;
    if (database == nullptr || packet.family == wire::Family::none) return registers.fail();
    const routing::View& view = database->view();
    const IpEnds ends = ip_ends(packet);
    if (result_ == NFT_FIB_RESULT_ADDRTYPE) {
      const wire::Address& asked = has(NFTA_FIB_F_DADDR) ? ends.dst : ends.src;
      const routing::RouteType type = view.address_type(packet.family, asked, device(context));
      return registers.set_u32(destination_, static_cast<std::uint32_t>(type));
    }
    store_interface(registers, view, find_interface(context, view, ends));
  }

  void dump(netlink::Writer& writer, DumpMode) const override {
    write_register(writer, NFTA_FIB_DREG, destination_);
    writer.put_be32(NFTA_FIB_RESULT, static_cast<std::uint32_t>(result_));
    writer.put_be32(NFTA_FIB_FLAGS, flags_);
  }

  /// nft_fib_validate, and netdev's and inet's ingress (nft_fib_netdev.c, nft_fib_inet.c).
  Result<void> validate(Validation& validation) const override {
    const std::uint32_t incoming =
        hook_bit(Hook::prerouting) | hook_bit(Hook::input) | hook_bit(Hook::forward);
    const std::uint32_t outgoing =
        hook_bit(Hook::output) | hook_bit(Hook::postrouting) | hook_bit(Hook::forward);
    if (validation.family == Family::netdev) return {};
    if (result_ != NFT_FIB_RESULT_ADDRTYPE)
      return validation.require_hooks(has(NFTA_FIB_F_IIF) ? incoming : hook_bit(Hook::prerouting));
    if (has(NFTA_FIB_F_IIF)) return validation.require_hooks(incoming);
    if (has(NFTA_FIB_F_OIF)) return validation.require_hooks(outgoing);
    return validation.require_hooks(incoming | outgoing);
  }

 private:
  bool has(std::uint32_t flag) const { return (flags_ & flag) != 0; }

  /// The interface that the question names, or zero.
  std::uint32_t device(const Context& context) const {
    if (has(NFTA_FIB_F_IIF)) return context.in_ifindex();
    return has(NFTA_FIB_F_OIF) ? context.out_ifindex() : 0;
  }

  std::uint32_t find_interface(const Context& context, const routing::View& view,
                               const IpEnds& ends) const {
    if (answers_itself(context, view, ends)) return context.in_ifindex();
    const packet::Packet& packet = *context.packet;
    const bool is_ip = packet.family == wire::Family::ip;
    const wire::Address& dst = has(NFTA_FIB_F_DADDR) ? ends.dst : ends.src;
    const wire::Address& src = has(NFTA_FIB_F_DADDR) ? ends.src : ends.dst;
    const std::uint32_t wanted = device(context);
    routing::FlowKey key{.family = packet.family,
                         .tos = ends.tos,
                         .protocol = packet.l4_protocol,
                         .dst = dst,
                         .src = is_ip ? as_source(src) : src,
                         .mark = has(NFTA_FIB_F_MARK) ? packet.mark : 0};
    const bool is_reverse = !has(NFTA_FIB_F_DADDR) && has(NFTA_FIB_F_IIF);
    if (is_ip && is_reverse && context.hook == Hook::forward) key.iif = context.out_ifindex();
    if (!is_ip && is_link_local(dst)) key.oif = wanted != 0 ? wanted : packet.in_ifindex;

    const routing::Route route = wanted == 0 ? view.lookup(key) : view.lookup_through(key, wanted);
    const bool is_answer = route.type == routing::RouteType::unicast ||
                           route.type == routing::RouteType::multicast ||
                           (is_ip && route.type == routing::RouteType::broadcast);
    return is_answer ? route.out_ifindex : 0;
  }

  /// Packets whose source can't have a route and must not be taken for spoofed: from the loopback
  /// device, from hosts that have no address yet (DHCP; duplicate address detection).
  bool answers_itself(const Context& context, const routing::View& view, const IpEnds& ends) const {
    const packet::Packet& packet = *context.packet;
    if (packet.family == wire::Family::ip && ends.src.is_zero() &&
        (is_broadcast(ends.dst) || is_local_multicast(ends.dst)))
      return true;
    if (context.hook != Hook::prerouting && context.hook != Hook::ingress) return false;
    const routing::Link* const in = view.link(context.in_ifindex());
    if (in != nullptr && in->is_loopback()) return true;
    return packet.family == wire::Family::ip6 && packet.l4_protocol == IPPROTO_ICMPV6 &&
           ends.src.is_zero() && is_link_local(ends.dst);
  }

  void store_interface(Registers& registers, const routing::View& view,
                       std::uint32_t ifindex) const {
    if (has(NFTA_FIB_F_PRESENT)) return registers.set_u8(destination_, ifindex != 0);
    if (result_ == NFT_FIB_RESULT_OIF) return registers.set_u32(destination_, ifindex);
    std::array<std::uint8_t, IFNAMSIZ> name{};
    if (const routing::Link* const link = view.link(ifindex))
      std::memcpy(name.data(), link->name.data(), std::min(link->name.size(), name.size() - 1));
    registers.set(destination_, name);
  }

  nft_fib_result result_;
  std::uint32_t flags_;
  RegisterIndex destination_;
};

Result<std::unique_ptr<Expression>> parse(netlink::Region region, ParseContext& context) {
  const auto attributes = netlink::Attributes::parse(region, kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const auto bad = [&](std::uint16_t type, const char* text) {
    return std::unexpected(attributes->error(type, EINVAL, text));
  };
  const Family family = context.table.family;
  if (family != Family::ip && family != Family::ip6 && family != Family::inet &&
      family != Family::netdev)
    return std::unexpected(Error{EOPNOTSUPP, "fib works on IP packets only"});

  const std::uint32_t flags = attributes->be32(NFTA_FIB_FLAGS).host();
  const bool asks_saddr = (flags & NFTA_FIB_F_SADDR) != 0;
  const bool asks_daddr = (flags & NFTA_FIB_F_DADDR) != 0;
  if (asks_saddr == asks_daddr)
    return bad(NFTA_FIB_FLAGS, "fib wants either the source or the destination address");
  if ((flags & NFTA_FIB_F_IIF) != 0 && (flags & NFTA_FIB_F_OIF) != 0)
    return bad(NFTA_FIB_FLAGS, "fib takes either iif or oif");

  const std::uint32_t result = attributes->be32(NFTA_FIB_RESULT).host();
  std::size_t bytes = sizeof(std::uint32_t);
  switch (result) {
    case NFT_FIB_RESULT_OIFNAME:
      bytes = IFNAMSIZ;
      [[fallthrough]];
    case NFT_FIB_RESULT_OIF:
      if ((flags & NFTA_FIB_F_OIF) != 0)
        return bad(NFTA_FIB_FLAGS, "fib can't look for an interface and be given it");
      break;
    case NFT_FIB_RESULT_ADDRTYPE:
      break;
    default:
      return std::unexpected(
          attributes->error(NFTA_FIB_RESULT, EOPNOTSUPP, "fib has no such result"));
  }
  const auto destination = parse_destination(attributes->find(NFTA_FIB_DREG), bytes);
  if (!destination) return std::unexpected(destination.error());
  return std::make_unique<Fib>(static_cast<nft_fib_result>(result), flags, *destination);
}

}  // namespace

const ExpressionKind kFib = {.name = "fib", .parse = parse};

}  // namespace weir::rules
