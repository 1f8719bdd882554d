#include "rules/ct_timeout.h"

#include <linux/netfilter/nf_tables.h>

#include <array>
#include <cerrno>

#include "conntrack/tracker.h"
#include "wire/protocol.h"

namespace weir::rules {
namespace {

namespace protocol = wire::protocol;
using conntrack::TimeoutList;

constexpr std::uint8_t kGeneric = 255;

constexpr netlink::Rule kSchema[] = {
    {.type = NFTA_CT_TIMEOUT_L3PROTO, .kind = netlink::Kind::u16},
    {.type = NFTA_CT_TIMEOUT_L4PROTO, .kind = netlink::Kind::u8, .required = true},
    {.type = NFTA_CT_TIMEOUT_DATA, .kind = netlink::Kind::nested, .required = true},
};

/// Every timeout that any protocol has is a number of seconds.
constexpr auto kDataSchema = [] {
  std::array<netlink::Rule, TimeoutList::kMax - 1> rules{};
  for (std::uint16_t i = 0; i < rules.size(); ++i) {
    rules[i] = {.type = static_cast<std::uint16_t>(i + 1), .kind = netlink::Kind::u32};
  }
  return rules;
}();

class CtTimeout final : public CtObject {
 public:
  CtTimeout(std::uint16_t l3_protocol, std::uint8_t protocol, const TimeoutList& timeouts,
            std::uint16_t policy, conntrack::Table& connections)
      : l3_protocol_(l3_protocol),
        protocol_(protocol),
        timeouts_(timeouts),
        policy_(policy),
        connections_(connections) {}
  ~CtTimeout() override { connections_.policies().remove(policy_); }

  /// Only for the first packet of a connection (nft_ct_timeout_obj_eval).
  void eval(Registers& registers, Context& context) const override {
    const packet::Packet& packet = *context.packet;
    if (packet.ct.entry == 0 || packet.l4_protocol != protocol_) return;
    conntrack::Tracker& tracker = connections_.tracker(context.worker);
    if (tracker.connection(packet).is_confirmed()) return;
    if (!tracker.set_timeout_policy(packet.ct.entry, policy_, timeouts_[1])) {
      registers.verdict = Verdict::of(VerdictCode::drop);
    }
  }

  void dump(netlink::Writer& writer) const override {
    writer.put_u8(NFTA_CT_TIMEOUT_L4PROTO, protocol_);
    writer.put_be16(NFTA_CT_TIMEOUT_L3PROTO, l3_protocol_);
    const auto data = writer.nest(NFTA_CT_TIMEOUT_DATA);
    write_timeouts(writer, protocol_, timeouts_);
  }

 private:
  const std::uint16_t l3_protocol_;
  const std::uint8_t protocol_;
  const TimeoutList timeouts_;
  const std::uint16_t policy_;
  conntrack::Table& connections_;
};

}  // namespace

std::size_t timeout_count(std::uint8_t number) {
  switch (number) {
    case protocol::kTcp:
      return 11;
    case protocol::kSctp:
      return 9;
    case protocol::kDccp:
      return 7;
    case protocol::kUdp:
    case protocol::kUdplite:
    case protocol::kGre:
      return 2;
    case protocol::kIcmp:
    case protocol::kIcmpv6:
    case kGeneric:
      return 1;
    default:
      return 0;
  }
}

Result<TimeoutList> read_timeouts(netlink::Region data, std::uint8_t number,
                                  const TimeoutList& defaults) {
  const auto rules = std::span(kDataSchema).first(timeout_count(number));
  const auto attributes = netlink::Attributes::parse(data, rules);
  if (!attributes) return std::unexpected(attributes.error());
  TimeoutList timeouts = defaults;
  for (const netlink::Rule& rule : rules) {
    if (attributes->has(rule.type)) {
      timeouts.at(rule.type).set(attributes->be32(rule.type).host());
    }
  }
  return timeouts;
}

void write_timeouts(netlink::Writer& writer, std::uint8_t number, const TimeoutList& timeouts) {
  for (std::size_t i = 1; i <= timeout_count(number); ++i) {
    writer.put_be32(static_cast<std::uint16_t>(i), timeouts.at(i).get());
  }
}

Result<std::unique_ptr<CtObject>> parse_ct_timeout(netlink::Region data, Family family,
                                                   const Ruleset& ruleset) {
  const auto attributes = netlink::Attributes::parse(data, kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const std::uint8_t number = attributes->u8(NFTA_CT_TIMEOUT_L4PROTO);
  if (timeout_count(number) == 0) {
    return std::unexpected(attributes->error(NFTA_CT_TIMEOUT_L4PROTO, EOPNOTSUPP,
                                             "this protocol has no timeouts of its own"));
  }
  if (ruleset.connections() == nullptr) {
    return std::unexpected(Error{EOPNOTSUPP, "no connections are tracked here"});
  }
  conntrack::Table& connections = *ruleset.connections();
  const auto timeouts = read_timeouts(attributes->nested(NFTA_CT_TIMEOUT_DATA), number,
                                      connections.sysctl().timeouts(number));
  if (!timeouts) return std::unexpected(timeouts.error());
  const std::uint16_t policy = connections.policies().add(*timeouts, [&] {
    const EpochGuard guard(connections.epochs(), connections.control_participant(0));
    return connections.named_policies(ruleset.now());
  });
  if (policy == 0) return std::unexpected(Error{ENOSPC, "there are too many timeout policies"});
  const std::uint16_t l3_protocol = attributes->has(NFTA_CT_TIMEOUT_L3PROTO)
                                        ? attributes->be16(NFTA_CT_TIMEOUT_L3PROTO).host()
                                        : static_cast<std::uint16_t>(family);
  return std::make_unique<CtTimeout>(l3_protocol, number, *timeouts, policy, connections);
}

}  // namespace weir::rules
