#include "control/cthelper/cthelper.h"

#include <linux/netfilter/nfnetlink_cthelper.h>

#include <cerrno>
#include <memory>

#include "netlink/attributes.h"

namespace weir::control {
namespace {

constexpr netlink::Rule kSchema[] = {
    {.type = NFCTH_NAME, .kind = netlink::Kind::nul_string, .max_bytes = 15},
    {.type = NFCTH_TUPLE, .kind = netlink::Kind::nested},
    {.type = NFCTH_QUEUE_NUM, .kind = netlink::Kind::u32},
    {.type = NFCTH_POLICY, .kind = netlink::Kind::nested},
    {.type = NFCTH_PRIV_DATA_LEN, .kind = netlink::Kind::u32},
    {.type = NFCTH_STATUS, .kind = netlink::Kind::u32},
};

constexpr netlink::Rule kTuple[] = {
    {.type = NFCTH_TUPLE_L3PROTONUM, .kind = netlink::Kind::u16, .required = true},
    {.type = NFCTH_TUPLE_L4PROTONUM, .kind = netlink::Kind::u8, .required = true},
};

class EmptyDump final : public Dump {
 public:
  Result<Step> next(netlink::Writer&, std::size_t) override { return Step::done; }
};

Result<void> check_tuple(const netlink::Attributes& attributes) {
  if (!attributes.has(NFCTH_TUPLE)) return {};
  const auto tuple = netlink::Attributes::parse(attributes.nested(NFCTH_TUPLE), kTuple);
  if (!tuple) return std::unexpected(tuple.error());
  return {};
}

Result<void> create(const netlink::Attributes& attributes) {
  for (const std::uint16_t type : {NFCTH_NAME, NFCTH_TUPLE, NFCTH_POLICY, NFCTH_PRIV_DATA_LEN}) {
    if (!attributes.has(type)) return std::unexpected(attributes.missing(type));
  }
  return std::unexpected(
      Error{EOPNOTSUPP, "weir hands no packets to helpers in user space (no queue)"});
}

}  // namespace

std::uint8_t Cthelper::id() const { return NFNL_SUBSYS_CTHELPER; }

bool Cthelper::is_change(std::uint8_t number) const { return number != NFNL_MSG_CTHELPER_GET; }

Result<void> Cthelper::handle(const Request& request, Reply& reply) {
  const auto attributes = netlink::Attributes::parse(request.message.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  if (auto tuple = check_tuple(*attributes); !tuple) return tuple;
  switch (request.message.number()) {
    case NFNL_MSG_CTHELPER_NEW:
      return create(*attributes);
    case NFNL_MSG_CTHELPER_GET:
      if (request.is_dump()) return reply.start_dump(std::make_unique<EmptyDump>());
      return std::unexpected(Error{ENOENT, "there are no helpers in user space"});
    case NFNL_MSG_CTHELPER_DEL:
      return {};  // The kernel: nothing to delete is success where there is nothing at all.
    default:
      return std::unexpected(Error{EINVAL, "nfnetlink_cthelper has no such message"});
  }
}

}  // namespace weir::control
