#include "control/nftables/chain_hook.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <net/if.h>

#include <cerrno>

namespace weir::control::nftables {
namespace {

constexpr std::size_t kDevicesMax = 256;  // NFT_NETDEVICE_MAX.

constexpr netlink::Rule kHook[] = {
    {.type = NFTA_HOOK_HOOKNUM, .kind = netlink::Kind::u32},
    {.type = NFTA_HOOK_PRIORITY, .kind = netlink::Kind::u32},
    {.type = NFTA_HOOK_DEV, .kind = netlink::Kind::string, .max_bytes = IFNAMSIZ - 1},
    {.type = NFTA_HOOK_DEVS, .kind = netlink::Kind::nested},
};

/// The hook of a number in the family, and whether chains of the type may stand there.
Result<rules::Hook> find_hook(std::uint32_t number, rules::ChainType type, rules::Family family) {
  using rules::Hook;
  const Error refused{EOPNOTSUPP, "chains of this type can't stand at this hook"};
  if (family == rules::Family::netdev) {
    if (number != NF_NETDEV_INGRESS || type != rules::ChainType::filter) {
      return std::unexpected(refused);
    }
    return Hook::ingress;
  }
  if (number > static_cast<std::uint32_t>(Hook::ingress)) return std::unexpected(refused);
  const auto hook = static_cast<Hook>(number);
  switch (type) {
    case rules::ChainType::filter:
      if (hook == Hook::ingress && family != rules::Family::inet) return std::unexpected(refused);
      return hook;
    case rules::ChainType::nat:
      if (hook == Hook::forward || hook == Hook::ingress) return std::unexpected(refused);
      return hook;
    case rules::ChainType::route:
      if (hook != Hook::output) return std::unexpected(refused);
      return hook;
  }
  return std::unexpected(refused);
}

Result<void> read_devices(const netlink::Attributes& hook, rules::BaseChain& base) {
  if (base.hook != rules::Hook::ingress) {
    if (!hook.has(NFTA_HOOK_DEV) && !hook.has(NFTA_HOOK_DEVS)) return {};
    return std::unexpected(Error{EOPNOTSUPP, "only ingress chains have devices"});
  }
  // A dump names a single device in both ways (nft_chain_parse_netdev takes the first too).
  if (hook.has(NFTA_HOOK_DEV)) {
    base.devices.emplace_back(hook.string(NFTA_HOOK_DEV));
    return {};
  }
  for (const netlink::Attribute& device : hook.nested(NFTA_HOOK_DEVS)) {
    if (device.type() != NFTA_DEVICE_NAME) {
      return std::unexpected(device.error(EINVAL, "not a device name"));
    }
    if (base.devices.size() == kDevicesMax) {
      return std::unexpected(device.error(EFBIG, "more than 256 devices"));
    }
    base.devices.emplace_back(device.string());
  }
  if (base.devices.empty())
    return std::unexpected(Error{EINVAL, "an ingress chain needs a device"});
  return {};
}

}  // namespace

Result<rules::BaseChain> parse_base(const netlink::Attributes& chain, rules::Family family) {
  const auto hook = netlink::Attributes::parse(chain.nested(NFTA_CHAIN_HOOK), kHook);
  if (!hook) return std::unexpected(hook.error());
  if (!hook->has(NFTA_HOOK_HOOKNUM) || !hook->has(NFTA_HOOK_PRIORITY)) {
    return std::unexpected(chain.error(NFTA_CHAIN_NAME, ENOENT, "hook number and priority"));
  }
  rules::BaseChain base;
  base.priority = static_cast<std::int32_t>(hook->be32(NFTA_HOOK_PRIORITY).host());
  if (chain.has(NFTA_CHAIN_TYPE)) {
    const auto type = rules::chain_type_named(chain.string(NFTA_CHAIN_TYPE));
    if (!type) return std::unexpected(chain.error(NFTA_CHAIN_TYPE, ENOENT, "no such chain type"));
    base.type = *type;
  }
  const auto found = find_hook(hook->be32(NFTA_HOOK_HOOKNUM).host(), base.type, family);
  if (!found) return std::unexpected(found.error());
  base.hook = *found;
  if (base.type == rules::ChainType::nat && base.priority <= rules::priority::kConntrack) {
    return std::unexpected(Error{EOPNOTSUPP, "a nat chain must come after conntrack (-200)"});
  }
  if (auto result = read_devices(*hook, base); !result) return std::unexpected(result.error());
  return base;
}

void write_hook(netlink::Writer& writer, const rules::BaseChain& base, rules::Family family) {
  const auto nest = writer.nest_plain(NFTA_CHAIN_HOOK);
  const std::uint32_t number = family == rules::Family::netdev
                                   ? std::uint32_t{NF_NETDEV_INGRESS}
                                   : static_cast<std::uint32_t>(base.hook);
  writer.put_be32(NFTA_HOOK_HOOKNUM, number);
  writer.put_be32(NFTA_HOOK_PRIORITY, static_cast<std::uint32_t>(base.priority));
  if (base.devices.empty()) return;
  {
    const auto list = writer.nest_plain(NFTA_HOOK_DEVS);
    for (const std::string& device : base.devices) writer.put_string(NFTA_DEVICE_NAME, device);
  }
  if (base.devices.size() == 1) writer.put_string(NFTA_HOOK_DEV, base.devices.front());
}

}  // namespace weir::control::nftables
