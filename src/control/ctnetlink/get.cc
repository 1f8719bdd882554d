#include <linux/netfilter/nfnetlink_conntrack.h>

#include <cerrno>

#include "control/ctnetlink/ctnetlink.h"

namespace weir::control {
namespace {

/// CTA_USE of an answer: the table's reference and the request's.
constexpr std::uint32_t kReferences = 2;

}  // namespace

/// As nf_conntrack_find_get: a zone of one direction alone is that direction's. A connection's
/// reply may be looked for in another zone than its original.
std::optional<conntrack::Snapshot> Ctnetlink::find(const Named& named) const {
  if (!named.original && !named.reply) return std::nullopt;
  conntrack::Tuple tuple = named.original ? *named.original : *named.reply;
  tuple.zone = named.zone.original;
  if (named.zone.original == named.zone.reply) return control_.find(tuple, now_());
  if (auto found = control_.find(tuple, now_(), conntrack::Direction::original)) return found;
  tuple.zone = named.zone.reply;
  return control_.find(tuple, now_(), conntrack::Direction::reply);
}

/// The connection that a request names by one of its tuples. Errors: ENOENT; EINVAL without a
/// tuple.
Result<conntrack::Snapshot> Ctnetlink::find(const Request& request,
                                            const netlink::Attributes& attributes) const {
  const std::uint16_t type = attributes.has(CTA_TUPLE_ORIG) ? CTA_TUPLE_ORIG : CTA_TUPLE_REPLY;
  if (!attributes.has(type)) return std::unexpected(attributes.missing(CTA_TUPLE_ORIG));
  Named named{.zone = ctnetlink::Zone::read(attributes)};
  const auto tuple = ctnetlink::read_tuple(attributes.find(type),
                                           request.message.family().nfgen_family, &named.zone);
  if (!tuple) return std::unexpected(tuple.error());
  named.original = *tuple;
  auto connection = find(named);
  if (!connection) return std::unexpected(Error{ENOENT, "no connection has this tuple"});
  return *connection;
}

/// IPCTNL_MSG_CT_GET and _CTRZERO without NLM_F_DUMP.
Result<void> Ctnetlink::get(const Request& request, Reply& reply, bool zeroes) {
  const auto attributes = ctnetlink::parse_request(request.message);
  if (!attributes) return std::unexpected(attributes.error());
  auto connection = find(request, *attributes);
  if (!connection) return std::unexpected(std::move(connection).error());
  if (zeroes) {
    const auto before = control_.zero_counters(*connection);
    if (!before) return std::unexpected(Error{ENOENT, "the connection has just ended"});
    connection = *before;
  }
  netlink::Writer& out = reply.writer();
  auto start = request.answer(IPCTNL_MSG_CT_NEW, NLM_F_MULTI);
  start.family = static_cast<std::uint8_t>(connection->original.family);
  out.begin(start);
  ctnetlink::write_connection(out, *connection, now_(), kReferences);
  out.end();
  return {};
}

}  // namespace weir::control
