#include "rules/ct_objects.h"

#include <linux/netfilter/nf_tables.h>

#include <cerrno>
#include <optional>

#include "conntrack/tracker.h"
#include "helpers/list.h"
#include "wire/protocol.h"

namespace weir::rules {
namespace {

namespace status = conntrack::status;
using conntrack::Connection;
using conntrack::Direction;
using conntrack::Tracker;

constexpr std::uint32_t kHelperNameMax = 16;  // NF_CT_HELPER_NAME_LEN

Tracker* tracker_of(const Context& context) {
  if (context.packet->ct.entry == 0 || context.services->conntrack == nullptr) return nullptr;
  return &context.services->conntrack->tracker(context.worker);
}

bool is_ip(Family family) { return family == Family::ip || family == Family::ip6; }

constexpr netlink::Rule kHelperSchema[] = {
    {.type = NFTA_CT_HELPER_NAME, .kind = netlink::Kind::string, .max_bytes = kHelperNameMax - 1},
    {.type = NFTA_CT_HELPER_L3PROTO, .kind = netlink::Kind::u16},
    {.type = NFTA_CT_HELPER_L4PROTO, .kind = netlink::Kind::u8},
};

class CtHelper final : public CtObject {
 public:
  CtHelper(std::uint16_t helper, Family family, std::uint8_t protocol)
      : helper_(helper), family_(family), protocol_(protocol) {}

  /// Only for the first packet of a connection that has none (nft_ct_helper_obj_eval).
  void eval(Registers&, Context& context) const override {
    Tracker* const tracker = tracker_of(context);
    if (tracker == nullptr) return;
    const Connection connection = tracker->connection(*context.packet);
    const conntrack::Tuple& original = connection.original();
    const bool is_meant = original.protocol == protocol_ &&
                          (!is_ip(family_) || static_cast<std::uint8_t>(original.family) ==
                                                  static_cast<std::uint8_t>(wire_family()));
    if (!is_meant || (connection.status() & (status::kConfirmed | status::kHelper)) != 0) return;
    // Out of memory for it: the connection does without, as in the kernel.
    if (tracker->assign_helper(connection.number(), helper_)) {
      tracker->add_status(connection.number(), status::kHelper);
    }
  }

  void dump(netlink::Writer& writer) const override {
    writer.put_string(NFTA_CT_HELPER_NAME, helpers::name_of(helper_));
    writer.put_u8(NFTA_CT_HELPER_L4PROTO, protocol_);
    writer.put_be16(NFTA_CT_HELPER_L3PROTO, static_cast<std::uint16_t>(family_));
  }

 private:
  wire::Family wire_family() const {
    return family_ == Family::ip ? wire::Family::ip : wire::Family::ip6;
  }

  std::uint16_t helper_;
  Family family_;  // ip, ip6, or inet for both.
  std::uint8_t protocol_;
};

constexpr netlink::Rule kExpectationSchema[] = {
    {.type = NFTA_CT_EXPECT_L3PROTO, .kind = netlink::Kind::u16},
    {.type = NFTA_CT_EXPECT_L4PROTO, .kind = netlink::Kind::u8, .required = true},
    {.type = NFTA_CT_EXPECT_DPORT, .kind = netlink::Kind::u16, .required = true},
    {.type = NFTA_CT_EXPECT_TIMEOUT, .kind = netlink::Kind::u32, .required = true},
    {.type = NFTA_CT_EXPECT_SIZE, .kind = netlink::Kind::u8, .required = true},
};

bool has_ports(std::uint8_t protocol) {
  using namespace wire::protocol;
  return protocol == kTcp || protocol == kUdp || protocol == kUdplite || protocol == kDccp ||
         protocol == kSctp;
}

struct Wanted {
  wire::Family family;
  std::uint8_t protocol;
  Be16 port;
  std::uint32_t timeout_ms;
  std::uint8_t most;
};

class CtExpectation final : public CtObject {
 public:
  explicit CtExpectation(const Wanted& wanted) : wanted_(wanted) {}

  void eval(Registers& registers, Context& context) const override {
    Tracker* const tracker = tracker_of(context);
    if (tracker == nullptr) return registers.fail();
    const packet::Packet& packet = *context.packet;
    const auto answer = packet.ct.is_reply() ? Direction::original : Direction::reply;
    const conntrack::Tuple& theirs = tracker->connection(packet).tuple(answer);
    if (theirs.family != wanted_.family) return registers.fail();

    conntrack::ExpectationRequest request{.lifetime = std::chrono::milliseconds(wanted_.timeout_ms),
                                          .most_of_class = wanted_.most};
    request.expected = {.tuple = theirs, .source_mask = conntrack::all_of(theirs.family)};
    request.expected.tuple.protocol = wanted_.protocol;
    request.expected.tuple.src_port = Be16{0};
    request.expected.tuple.dst_port = wanted_.port;
    switch (tracker->expect(packet.ct.entry, request, context.now)) {
      case conntrack::Expectations::Added::done:
        return;
      case conntrack::Expectations::Added::class_full:
        return registers.fail();
      default:
        registers.verdict.code = VerdictCode::drop;
    }
  }

  void dump(netlink::Writer& writer) const override {
    writer.put_be16(NFTA_CT_EXPECT_L3PROTO, static_cast<std::uint16_t>(wanted_.family));
    writer.put_u8(NFTA_CT_EXPECT_L4PROTO, wanted_.protocol);
    writer.put_be16(NFTA_CT_EXPECT_DPORT, wanted_.port);
    writer.put_u32(NFTA_CT_EXPECT_TIMEOUT, wanted_.timeout_ms);
    writer.put_u8(NFTA_CT_EXPECT_SIZE, wanted_.most);
  }

 private:
  Wanted wanted_;
};

}  // namespace

Result<std::unique_ptr<CtObject>> parse_ct_helper(netlink::Region data, Family family) {
  const auto attributes = netlink::Attributes::parse(data, kHelperSchema);
  if (!attributes) return std::unexpected(attributes.error());
  for (const std::uint16_t needed : {NFTA_CT_HELPER_NAME, NFTA_CT_HELPER_L4PROTO}) {
    if (!attributes->has(needed)) return std::unexpected(attributes->missing(needed));
  }
  Family wanted = family;
  if (attributes->has(NFTA_CT_HELPER_L3PROTO)) {
    wanted = static_cast<Family>(attributes->be16(NFTA_CT_HELPER_L3PROTO).host());
  }
  const bool is_other = is_ip(wanted) && is_ip(family) && wanted != family;
  if (is_other) {
    return std::unexpected(attributes->error(NFTA_CT_HELPER_L3PROTO, EINVAL,
                                             "a helper for the family that the table isn't for"));
  }
  if (!is_ip(wanted) && wanted != Family::inet && wanted != Family::netdev &&
      wanted != Family::bridge) {
    return std::unexpected(attributes->error(NFTA_CT_HELPER_L3PROTO, EAFNOSUPPORT, ""));
  }
  if (!is_ip(wanted)) wanted = Family::inet;
  const std::uint8_t protocol = attributes->u8(NFTA_CT_HELPER_L4PROTO);
  const std::uint16_t helper =
      helpers::number_of(attributes->string(NFTA_CT_HELPER_NAME), protocol);
  if (helper == 0) {
    return std::unexpected(attributes->error(NFTA_CT_HELPER_NAME, ENOENT,
                                             "weir has no such helper for this protocol"));
  }
  return std::make_unique<CtHelper>(helper, wanted, protocol);
}

Result<std::unique_ptr<CtObject>> parse_ct_expectation(netlink::Region data, Family family) {
  const auto attributes = netlink::Attributes::parse(data, kExpectationSchema);
  if (!attributes) return std::unexpected(attributes.error());
  Family wanted = family;
  if (attributes->has(NFTA_CT_EXPECT_L3PROTO)) {
    wanted = static_cast<Family>(attributes->be16(NFTA_CT_EXPECT_L3PROTO).host());
  }
  if (!is_ip(wanted)) {
    return std::unexpected(attributes->error(NFTA_CT_EXPECT_L3PROTO, EAFNOSUPPORT,
                                             "an expectation is of IPv4 or of IPv6"));
  }
  if (wanted != family && family != Family::inet) {
    return std::unexpected(attributes->error(NFTA_CT_EXPECT_L3PROTO, EINVAL, ""));
  }
  const std::uint8_t protocol = attributes->u8(NFTA_CT_EXPECT_L4PROTO);
  if (!has_ports(protocol)) {
    return std::unexpected(attributes->error(NFTA_CT_EXPECT_L4PROTO, EOPNOTSUPP,
                                             "only protocols with ports can be expected"));
  }
  return std::make_unique<CtExpectation>(
      Wanted{.family = wanted == Family::ip ? wire::Family::ip : wire::Family::ip6,
             .protocol = protocol,
             .port = attributes->be16(NFTA_CT_EXPECT_DPORT),
             .timeout_ms = attributes->u32(NFTA_CT_EXPECT_TIMEOUT),
             .most = attributes->u8(NFTA_CT_EXPECT_SIZE)});
}

}  // namespace weir::rules
