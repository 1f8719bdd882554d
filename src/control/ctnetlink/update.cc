#include <linux/netfilter/nfnetlink_conntrack.h>

#include <algorithm>
#include <cerrno>
#include <iterator>

#include "control/ctnetlink/ctnetlink.h"

namespace weir::control {

/// IPCTNL_MSG_CT_NEW on a connection that exists: changes its mark. What else it could change, and
/// making a connection, is refused, and then nothing has changed.
Result<void> Ctnetlink::update(const Request& request) {
  const auto attributes =
      netlink::Attributes::parse(request.message.attributes(), ctnetlink::request_rules());
  if (!attributes) return std::unexpected(attributes.error());
  const auto connection = find(request, *attributes);
  if (!connection) {
    const bool would_create =
        connection.error().code == ENOENT && request.message.flags() & NLM_F_CREATE;
    if (!would_create) return std::unexpected(connection.error());
    return std::unexpected(Error{EOPNOTSUPP, "the engine does not make connections on request"});
  }
  if (request.message.flags() & NLM_F_EXCL) {
    return std::unexpected(Error{EEXIST, "the connection exists"});
  }
  constexpr std::uint16_t known[] = {CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_MARK,
                                     CTA_MARK_MASK,  CTA_ZONE,        CTA_ID};
  for (const netlink::Attribute& attribute : request.message.attributes()) {
    const bool is_known =
        std::find(std::begin(known), std::end(known), attribute.type()) != std::end(known);
    if (!is_known) {
      return std::unexpected(
          attribute.error(EOPNOTSUPP, "of a connection only the mark can be changed"));
    }
  }
  if (!attributes->has(CTA_MARK)) return {};
  const std::uint32_t mask =
      attributes->has(CTA_MARK_MASK) ? attributes->be32(CTA_MARK_MASK).host() : ~std::uint32_t{0};
  if (!control_.set_mark(*connection, attributes->be32(CTA_MARK).host(), mask, request.port_id)) {
    return std::unexpected(Error{ENOENT, "the connection has just ended"});
  }
  return {};
}

}  // namespace weir::control
