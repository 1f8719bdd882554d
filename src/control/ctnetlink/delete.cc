#include <linux/netfilter/nfnetlink_conntrack.h>

#include <cerrno>

#include "control/ctnetlink/ctnetlink.h"

namespace weir::control {
namespace {

constexpr std::uint16_t kFilter = 25;  ///< CTA_FILTER (Linux 5.8).

}  // namespace

/// IPCTNL_MSG_CT_DELETE: one connection by its tuple, or all that a filter matches. With CTA_ID
/// only when that is the connection's: a tool never deletes the successor of what it has seen.
Result<void> Ctnetlink::remove(const Request& request) {
  const auto attributes = ctnetlink::parse_request(request.message);
  if (!attributes) return std::unexpected(attributes.error());
  const bool has_tuple = attributes->has(CTA_TUPLE_ORIG) || attributes->has(CTA_TUPLE_REPLY);
  if (!has_tuple || attributes->has(kFilter)) return flush(request, *attributes);

  const auto connection = find(request, *attributes);
  if (!connection) return std::unexpected(connection.error());
  if (attributes->has(CTA_ID) && attributes->be32(CTA_ID).raw != connection->id) {
    return std::unexpected(attributes->error(CTA_ID, ENOENT, "another connection has this tuple"));
  }
  if (!control_.remove(*connection, request.port_id)) {
    return std::unexpected(Error{ENOENT, "the connection has just ended"});
  }
  return {};
}

/// Without CTA_FILTER the family counts only when the request's version isn't zero: older tools
/// left garbage there.
Result<void> Ctnetlink::flush(const Request& request, const netlink::Attributes& attributes) {
  const nfgenmsg family = request.message.family();
  const bool has_family = family.version || attributes.has(kFilter);
  const auto filter =
      ctnetlink::Filter::read(attributes, has_family ? family.nfgen_family : std::uint8_t{0});
  if (!filter) return std::unexpected(filter.error());
  control_.flush(now_(), request.port_id, [&](const conntrack::Snapshot& connection) {
    return filter->matches(connection);
  });
  return {};
}

}  // namespace weir::control
