#include "rules/expr/meta_read.h"

#include <linux/netfilter/nf_tables.h>
#include <net/if.h>

#include <string_view>

#include "routing/database.h"
#include "routing/view.h"
#include "rules/expr/header_base.h"
#include "wire/ethernet.h"

namespace weir::rules {
namespace {

const routing::View* view(const Context& context) {
  const bool has_routing = context.services != nullptr && context.services->routing != nullptr;
  return has_routing ? &context.services->routing->view() : nullptr;
}

const routing::Link* link(const Context& context, std::uint32_t ifindex) {
  const routing::View* const known = ifindex == 0 ? nullptr : view(context);
  return known == nullptr ? nullptr : known->link(ifindex);
}

/// A name takes a whole register, padded with zeroes.
void set_name(Registers& registers, RegisterIndex to, std::string_view name) {
  registers.set(to, routing::padded(name));
}

/// What an interface says of itself; a hook without such an interface has none of it.
bool read_interface(std::uint32_t key, const Context& context, Registers& registers,
                    RegisterIndex to) {
  const bool is_in = key == NFT_META_IIFTYPE || key == NFT_META_IIFGROUP || key == NFT_META_IIFKIND;
  const routing::Link* found = link(context, is_in ? context.in_ifindex() : context.out_ifindex());
  switch (key) {
    case NFT_META_IIFTYPE:
    case NFT_META_OIFTYPE:
      if (found) registers.set_u16(to, found->type);
      return found;
    case NFT_META_IIFGROUP:
    case NFT_META_OIFGROUP:
      if (found) registers.set_u32(to, found->group);
      return found;
    default:
      if (!found || found->kind.empty()) return false;
      set_name(registers, to, found->kind);
      return true;
  }
}

void read_time(std::uint32_t key, const Context& context, Registers& registers, RegisterIndex to) {
  constexpr std::int64_t kDaySeconds = 86400;
  constexpr std::int64_t kThursday = 4;  // 1970-01-01.
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(context.wall).count();
  switch (key) {
    case NFT_META_TIME_NS:
      registers.set_u64(to, static_cast<std::uint64_t>(context.wall.count()));
      break;
    case NFT_META_TIME_DAY:
      registers.set_u8(to, static_cast<std::uint8_t>((kThursday + seconds / kDaySeconds) % 7));
      break;
    default:
      registers.set_u32(to, static_cast<std::uint32_t>(seconds % kDaySeconds));
  }
}

std::uint16_t ethertype(const packet::Packet& packet) {
  if (packet.family != wire::Family::none) return wire::ethertype_of(packet.family).raw;
  return load<std::uint16_t>(packet.frame() + 12);
}

}  // namespace

std::size_t meta_bytes(std::uint32_t key) {
  switch (key) {
    case NFT_META_PROTOCOL:
    case NFT_META_IIFTYPE:
    case NFT_META_OIFTYPE:
      return 2;
    case NFT_META_IIFNAME:
    case NFT_META_OIFNAME:
    case NFT_META_IIFKIND:
    case NFT_META_OIFKIND:
    case NFT_META_SDIFNAME:
      return IFNAMSIZ;
    case NFT_META_LEN:
    case NFT_META_PRIORITY:
    case NFT_META_MARK:
    case NFT_META_IIF:
    case NFT_META_OIF:
    case NFT_META_SKUID:
    case NFT_META_SKGID:
    case NFT_META_NFPROTO:
    case NFT_META_L4PROTO:
    case NFT_META_PKTTYPE:
    case NFT_META_CPU:
    case NFT_META_IIFGROUP:
    case NFT_META_OIFGROUP:
    case NFT_META_PRANDOM:
    case NFT_META_SDIF:
    case NFT_META_TIME_HOUR:
      return 4;
    case NFT_META_SECPATH:
    case NFT_META_TIME_DAY:
      return 1;
    case NFT_META_TIME_NS:
      return 8;
    default:
      return 0;
  }
}

void load_name(const Context& context, std::uint32_t ifindex, Registers& registers,
               RegisterIndex to) {
  const routing::View* const known = view(context);
  registers.set(to, known == nullptr ? routing::PaddedName{} : known->padded_name(ifindex));
}

bool read_meta(std::uint32_t key, Context& context, Registers& registers, RegisterIndex to) {
  const packet::Packet& packet = *context.packet;
  switch (key) {
    case NFT_META_LEN:
      registers.set_u32(to, readable_end(packet) - packet.l3_offset);
      return true;
    case NFT_META_PROTOCOL:
      registers.set_u16(to, ethertype(packet));
      return true;
    case NFT_META_NFPROTO:
      registers.set_u8(to, hook_family(context));
      return true;
    case NFT_META_L4PROTO:
      if (packet.family == wire::Family::none) return false;
      registers.set_u8(to, packet.l4_protocol);
      return true;
    case NFT_META_PRIORITY:
      registers.set_u32(to, packet.priority);
      return true;
    case NFT_META_MARK:
      registers.set_u32(to, packet.mark);
      return true;
    case NFT_META_IIF:
      registers.set_u32(to, context.in_ifindex());
      return true;
    case NFT_META_OIF:
      registers.set_u32(to, context.out_ifindex());
      return true;
    case NFT_META_IIFNAME:
      load_name(context, context.in_ifindex(), registers, to);
      return true;
    case NFT_META_OIFNAME:
      load_name(context, context.out_ifindex(), registers, to);
      return true;
    case NFT_META_PKTTYPE:
      registers.set_u8(to, static_cast<std::uint8_t>(packet.link_type));
      return true;
    case NFT_META_CPU:
      registers.set_u32(to, context.worker);
      return true;
    case NFT_META_PRANDOM:
      registers.set_u32(to, context.next_random());
      return true;
    case NFT_META_SECPATH:
      registers.set_u8(to, 0);
      return true;  // weir ends no IPsec tunnel.
    case NFT_META_SDIF:
      registers.set_u32(to, 0);
      return true;  // Nor has it VRFs.
    case NFT_META_SDIFNAME:
      set_name(registers, to, {});
      return true;
    case NFT_META_SKUID:
    case NFT_META_SKGID:
      return false;  // Forwarded packets have no socket.
    case NFT_META_TIME_NS:
    case NFT_META_TIME_DAY:
    case NFT_META_TIME_HOUR:
      read_time(key, context, registers, to);
      return true;
    default:
      return read_interface(key, context, registers, to);
  }
}

}  // namespace weir::rules
