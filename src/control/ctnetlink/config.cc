#include <cerrno>

#include "control/ctnetlink/ctnetlink.h"
#include "netlink/event_filter.h"

namespace weir::control {
namespace {

constexpr netlink::Rule kConfigRules[] = {
    {.type = WEIR_CTA_CONFIG_EVENTS, .kind = netlink::Kind::u32, .required = true}};

}  // namespace

/// WEIR_IPCTNL_MSG_CONFIG: which events the asking socket wants.
Result<void> Ctnetlink::configure(const Request& request, Reply& reply) const {
  const auto attributes = netlink::Attributes::parse(request.message.attributes(), kConfigRules);
  if (!attributes) return std::unexpected(attributes.error());
  weir_event_filter filter{};
  filter.subsystem = NFNL_SUBSYS_CTNETLINK;
  filter.events = attributes->be32(WEIR_CTA_CONFIG_EVENTS).host();
  return reply.set_event_filter(filter);
}

}  // namespace weir::control
