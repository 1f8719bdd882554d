#include <linux/netfilter/nfnetlink_conntrack.h>

#include <cerrno>

#include "control/ctnetlink/attributes.h"
#include "control/ctnetlink/expect.h"
#include "helpers/list.h"

/// IPCTNL_MSG_EXP_NEW: expects on behalf of a connection, or changes when an expectation ends.
namespace weir::control {
namespace {

using conntrack::ExpectationChange;
using conntrack::ExpectationRequest;
using conntrack::Tuple;

constexpr std::string_view kFollowMaster = "nat-follow-master";

constexpr netlink::Rule kNat[] = {
    {.type = CTA_EXPECT_NAT_DIR, .kind = netlink::Kind::u32, .required = true, .max_value = 1},
    {.type = CTA_EXPECT_NAT_TUPLE, .kind = netlink::Kind::nested, .required = true},
};

Result<void> refusal(int code) {
  switch (code) {
    case 0:
      return {};
    case EBUSY:
      return std::unexpected(Error{code, "some of the same connections are expected already"});
    case EALREADY:
      return std::unexpected(Error{code, "the same is expected as another class"});
    case EMFILE:
      return std::unexpected(Error{code, "too much is expected"});
    case ETIME:
      return std::unexpected(Error{code, "the expectation has just ended"});
    default:
      return std::unexpected(Error{code, "the master has just ended"});
  }
}

Result<void> read_nat(const netlink::Attributes& attributes, std::uint8_t family,
                      conntrack::ExpectedNat& nat) {
  if (attributes.has(CTA_EXPECT_FN)) {
    if (attributes.string(CTA_EXPECT_FN) != kFollowMaster) {
      return std::unexpected(attributes.error(CTA_EXPECT_FN, EINVAL, "no such function"));
    }
    nat.follows_master = true;
  }
  if (!attributes.has(CTA_EXPECT_NAT)) return {};
  const auto parts = netlink::Attributes::parse(attributes.nested(CTA_EXPECT_NAT), kNat);
  if (!parts) return std::unexpected(parts.error());
  const auto tuple = ctnetlink::read_tuple(parts->find(CTA_EXPECT_NAT_TUPLE), family, nullptr);
  if (!tuple) return std::unexpected(tuple.error());
  nat.address = tuple->src;
  nat.port = tuple->src_port;
  nat.direction = static_cast<conntrack::Direction>(parts->be32(CTA_EXPECT_NAT_DIR).host());
  return {};
}

}  // namespace

Result<void> CtnetlinkExpect::make_or_change(const Request& request) {
  const auto attributes = ctnetlink::parse_expectation(request.message);
  if (!attributes) return std::unexpected(attributes.error());
  for (const std::uint16_t type : {CTA_EXPECT_TUPLE, CTA_EXPECT_MASK, CTA_EXPECT_MASTER}) {
    if (!attributes->has(type)) return std::unexpected(Error{EINVAL, "a tuple is missing"});
  }
  const auto tuple =
      ctnetlink::read_expectation_tuple(request.message, *attributes, CTA_EXPECT_TUPLE);
  if (!tuple) return std::unexpected(tuple.error());

  const auto present = table_.expectations().find(*tuple, now_());
  if (!present) {
    if (request.message.flags() & NLM_F_CREATE) return make(request, *attributes, *tuple);
    return std::unexpected(Error{ENOENT, "nothing like that is expected"});
  }
  if (request.message.flags() & NLM_F_EXCL) {
    return std::unexpected(Error{EEXIST, "this is expected already"});
  }
  if (!attributes->has(CTA_EXPECT_TIMEOUT)) return {};
  const std::chrono::seconds lifetime(attributes->be32(CTA_EXPECT_TIMEOUT).host());
  return refusal(
      change(*present, {.kind = ExpectationChange::Kind::set_lifetime, .lifetime = lifetime}));
}

/// How long it lives, and how many of its kind there may be, is the helper's to say, not the
/// request's: as in the kernel.
Result<void> CtnetlinkExpect::make(const Request& request, const netlink::Attributes& attributes,
                                   const Tuple& tuple) {
  const auto mask = ctnetlink::read_expectation_tuple(request.message, attributes, CTA_EXPECT_MASK);
  if (!mask) return std::unexpected(mask.error());
  const auto master_tuple =
      ctnetlink::read_expectation_tuple(request.message, attributes, CTA_EXPECT_MASTER);
  if (!master_tuple) return std::unexpected(master_tuple.error());
  const auto master = control_.find(*master_tuple, now_());
  if (!master) return std::unexpected(Error{ENOENT, "no connection has the master's tuple"});
  const helpers::Helper* const helper = helpers::find(master->rare.helper);
  if (helper == nullptr) {
    return std::unexpected(Error{EOPNOTSUPP, "the master has no helper"});
  }

  ExpectationRequest wanted{.expected = {.tuple = tuple}, .port_id = request.port_id};
  const std::uint32_t class_number = attributes.be32(CTA_EXPECT_CLASS).host();
  if (class_number >= helper->policies().size()) {
    return std::unexpected(
        attributes.error(CTA_EXPECT_CLASS, EINVAL, "the helper has no such class"));
  }
  const nat::ExpectationPolicy& policy = helper->policies()[class_number];
  wanted.expected.source_mask = mask->src;
  wanted.expected.source_port_mask = mask->src_port;
  wanted.class_number = static_cast<std::uint16_t>(class_number);
  wanted.flags = attributes.be32(CTA_EXPECT_FLAGS).host() & ~conntrack::expect_flag::kUserspace;
  wanted.lifetime = policy.lifetime;
  wanted.max_of_class = policy.max_expected;
  wanted.helper = helpers::number_of(attributes.string(CTA_EXPECT_HELP_NAME), tuple.protocol);
  if (const auto nat = read_nat(attributes, request.message.family().nfgen_family, wanted.nat);
      !nat) {
    return std::unexpected(nat.error());
  }
  return refusal(control_.expect(master->number, master->generation,
                                 {.kind = ExpectationChange::Kind::add, .request = wanted}));
}

}  // namespace weir::control
