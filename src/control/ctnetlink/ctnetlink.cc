#include "control/ctnetlink/ctnetlink.h"

#include <linux/netfilter/nfnetlink_conntrack.h>

#include <cerrno>

namespace weir::control {

std::uint8_t Ctnetlink::id() const { return NFNL_SUBSYS_CTNETLINK; }

bool Ctnetlink::is_change(std::uint8_t number) const {
  return number == IPCTNL_MSG_CT_NEW || number == IPCTNL_MSG_CT_DELETE ||
         number == IPCTNL_MSG_CT_GET_CTRZERO;
}

/// Connections that are loaded: each is refused if it is there already, whether that is known at
/// once or by the worker that makes it. A master must be there before.
bool Ctnetlink::may_overtake(const netlink::Message& message) const {
  constexpr std::uint16_t kOnlyMake = NLM_F_CREATE | NLM_F_EXCL;
  if (message.number() != IPCTNL_MSG_CT_NEW || (message.flags() & kOnlyMake) != kOnlyMake) {
    return false;
  }
  for (const netlink::Attribute& attribute : message.attributes()) {
    if (attribute.type() == CTA_TUPLE_MASTER) return false;
  }
  return true;
}

Result<void> Ctnetlink::handle(const Request& request, Reply& reply) {
  switch (request.message.number()) {
    case IPCTNL_MSG_CT_GET:
      return request.is_dump() ? dump(request, reply, false) : get(request, reply, false);
    case IPCTNL_MSG_CT_GET_CTRZERO:
      return request.is_dump() ? dump(request, reply, true) : get(request, reply, true);
    case IPCTNL_MSG_CT_DELETE:
      return remove(request);
    case IPCTNL_MSG_CT_NEW:
      return make_or_change(request, reply);
    case IPCTNL_MSG_CT_GET_STATS:
      get_stats(request, reply);
      return {};
    case IPCTNL_MSG_CT_GET_STATS_CPU:
      if (request.is_dump()) return dump_worker_stats(request, reply);
      return {};  // As the kernel: nothing is answered.
    case IPCTNL_MSG_CT_GET_DYING:
      return dump_dying(request, reply);
    case IPCTNL_MSG_CT_GET_UNCONFIRMED:
      return dump_unconfirmed(request, reply);
    case WEIR_IPCTNL_MSG_CONFIG:
      return configure(request, reply);
    default:
      return std::unexpected(Error{EINVAL, "ctnetlink has no such message"});
  }
}

}  // namespace weir::control
