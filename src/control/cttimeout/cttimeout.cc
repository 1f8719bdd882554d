#include "control/cttimeout/cttimeout.h"

#include <linux/netfilter/nfnetlink_cttimeout.h>
#include <sys/socket.h>

#include <cerrno>
#include <vector>

#include "rules/ct_timeout.h"

namespace weir::control {
namespace {

using conntrack::TimeoutList;
using netlink::Attributes;

constexpr std::uint32_t kNameMax = 32;  // CTNL_TIMEOUT_NAME_MAX

constexpr netlink::Rule kSchema[] = {
    {.type = CTA_TIMEOUT_NAME, .kind = netlink::Kind::nul_string, .max_bytes = kNameMax - 1},
    {.type = CTA_TIMEOUT_L3PROTO, .kind = netlink::Kind::u16},
    {.type = CTA_TIMEOUT_L4PROTO, .kind = netlink::Kind::u8},
    {.type = CTA_TIMEOUT_DATA, .kind = netlink::Kind::nested},
};

Result<void> require(const Attributes& attributes, std::initializer_list<std::uint16_t> types) {
  for (const std::uint16_t type : types) {
    if (!attributes.has(type)) return std::unexpected(attributes.missing(type));
  }
  return {};
}

/// The protocol that is asked about. Errors: EOPNOTSUPP when it has no timeouts.
Result<std::uint8_t> read_protocol(const Attributes& attributes) {
  const std::uint8_t protocol = attributes.u8(CTA_TIMEOUT_L4PROTO);
  if (rules::timeout_count(protocol) != 0) return protocol;
  return std::unexpected(attributes.error(CTA_TIMEOUT_L4PROTO, EOPNOTSUPP,
                                          "this protocol has no timeouts of its own"));
}

void write_data(netlink::Writer& out, std::uint8_t protocol, const TimeoutList& timeouts) {
  const auto data = out.nest(CTA_TIMEOUT_DATA);
  rules::write_timeouts(out, protocol, timeouts);
}

/// A policy as it is shown, at one moment.
struct Shown {
  Cttimeout::Policy policy;
  TimeoutList timeouts;
};

/// Answers about policies are of no family.
netlink::Writer::Start start_of(const Request& request, std::uint8_t number) {
  netlink::Writer::Start start = request.answer(number, NLM_F_MULTI);
  start.family = AF_UNSPEC;
  return start;
}

void write(netlink::Writer& out, const netlink::Writer::Start& start, const Shown& shown) {
  const Cttimeout::Policy& policy = shown.policy;
  out.begin(start);
  out.put_string(CTA_TIMEOUT_NAME, policy.name);
  out.put_be16(CTA_TIMEOUT_L3PROTO, policy.l3_protocol);
  out.put_u8(CTA_TIMEOUT_L4PROTO, policy.protocol);
  out.put_be32(CTA_TIMEOUT_USE, policy.use);
  write_data(out, policy.protocol, shown.timeouts);
  out.end();
}

class PolicyDump final : public Dump {
 public:
  PolicyDump(const Request& request, std::vector<Shown> policies)
      : start_(start_of(request, IPCTNL_MSG_TIMEOUT_NEW)), policies_(std::move(policies)) {}

  Result<Step> next(netlink::Writer& out, std::size_t) override {
    if (next_ == policies_.size()) return Step::done;
    write(out, start_, policies_[next_]);
    return ++next_ == policies_.size() ? Step::done : Step::more;
  }

 private:
  netlink::Writer::Start start_;
  std::vector<Shown> policies_;
  std::size_t next_ = 0;
};

}  // namespace

Cttimeout::~Cttimeout() {
  for (const Policy& policy : policies_) connections_.policies().remove(policy.number);
}

std::uint8_t Cttimeout::id() const { return NFNL_SUBSYS_CTNETLINK_TIMEOUT; }

bool Cttimeout::is_change(std::uint8_t number) const {
  return number == IPCTNL_MSG_TIMEOUT_NEW || number == IPCTNL_MSG_TIMEOUT_DELETE ||
         number == IPCTNL_MSG_TIMEOUT_DEFAULT_SET;
}

Result<void> Cttimeout::handle(const Request& request, Reply& reply) {
  switch (request.message.number()) {
    case IPCTNL_MSG_TIMEOUT_NEW:
      return make(request);
    case IPCTNL_MSG_TIMEOUT_GET:
      return get(request, reply);
    case IPCTNL_MSG_TIMEOUT_DELETE:
      return remove(request);
    case IPCTNL_MSG_TIMEOUT_DEFAULT_SET:
      return set_default(request);
    case IPCTNL_MSG_TIMEOUT_DEFAULT_GET:
      return get_default(request, reply);
    default:
      return std::unexpected(Error{EINVAL, "no such message of nfnetlink_cttimeout"});
  }
}

Cttimeout::Policy* Cttimeout::find(std::string_view name) {
  for (Policy& policy : policies_) {
    if (policy.name == name) return &policy;
  }
  return nullptr;
}

std::vector<bool> Cttimeout::named_policies() {
  const EpochGuard guard(connections_.epochs(), participant_);
  return connections_.named_policies(now_());
}

/// IPCTNL_MSG_TIMEOUT_NEW: makes a policy, or with NLM_F_REPLACE changes one of the same kind. What
/// a new or changed policy doesn't say is as the default timeouts are now.
Result<void> Cttimeout::make(const Request& request) {
  const auto attributes = Attributes::parse(request.message.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const auto complete = require(
      *attributes, {CTA_TIMEOUT_NAME, CTA_TIMEOUT_L3PROTO, CTA_TIMEOUT_L4PROTO, CTA_TIMEOUT_DATA});
  if (!complete) return complete;
  const std::string_view name = attributes->string(CTA_TIMEOUT_NAME);
  Policy* const known = find(name);
  const std::uint16_t flags = request.message.flags();
  if (known != nullptr && (flags & NLM_F_EXCL) != 0) {
    return std::unexpected(attributes->error(CTA_TIMEOUT_NAME, EEXIST, "there is such a policy"));
  }
  const auto protocol = read_protocol(*attributes);
  if (!protocol) return std::unexpected(protocol.error());
  const std::uint16_t l3_protocol = attributes->be16(CTA_TIMEOUT_L3PROTO).host();
  if (known != nullptr && (flags & NLM_F_REPLACE) == 0) {
    return std::unexpected(attributes->error(CTA_TIMEOUT_NAME, EBUSY, "there is such a policy"));
  }
  if (known != nullptr && (known->l3_protocol != l3_protocol || known->protocol != *protocol)) {
    return std::unexpected(attributes->error(CTA_TIMEOUT_L4PROTO, EINVAL,
                                             "a policy can't become one of another protocol"));
  }
  const auto timeouts = rules::read_timeouts(attributes->nested(CTA_TIMEOUT_DATA), *protocol,
                                             connections_.sysctl().timeouts(*protocol));
  if (!timeouts) return std::unexpected(timeouts.error());
  if (known != nullptr) {
    connections_.policies().set(known->number, *timeouts);
    return {};
  }
  const std::uint16_t number =
      connections_.policies().add(*timeouts, [this] { return named_policies(); });
  if (number == 0) return std::unexpected(Error{ENOMEM, "there are too many timeout policies"});
  policies_.push_back({.name = std::string(name),
                       .l3_protocol = l3_protocol,
                       .protocol = *protocol,
                       .number = number});
  return {};
}

/// IPCTNL_MSG_TIMEOUT_GET: one by its name, or a dump of all.
Result<void> Cttimeout::get(const Request& request, Reply& reply) {
  const auto shown = [this](const Policy& policy) {
    return Shown{policy, *connections_.policies().find(policy.number)};
  };
  if (request.is_dump()) {
    std::vector<Shown> all;
    for (const Policy& policy : policies_) all.push_back(shown(policy));
    return reply.start_dump(std::make_unique<PolicyDump>(request, std::move(all)));
  }
  const auto attributes = Attributes::parse(request.message.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  if (auto complete = require(*attributes, {CTA_TIMEOUT_NAME}); !complete) return complete;
  const Policy* const policy = find(attributes->string(CTA_TIMEOUT_NAME));
  if (policy == nullptr) {
    return std::unexpected(attributes->error(CTA_TIMEOUT_NAME, ENOENT, "no such policy"));
  }
  write(reply.writer(), start_of(request, IPCTNL_MSG_TIMEOUT_NEW), shown(*policy));
  return {};
}

/// IPCTNL_MSG_TIMEOUT_DELETE: one by its name, or all that nobody uses. Connections that have it go
/// on with the default timeouts.
Result<void> Cttimeout::remove(const Request& request) {
  const auto attributes = Attributes::parse(request.message.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const bool names_one = attributes->has(CTA_TIMEOUT_NAME);
  const std::string_view name = attributes->string(CTA_TIMEOUT_NAME);
  const Policy* const named = names_one ? find(name) : nullptr;
  if (names_one && named == nullptr) {
    return std::unexpected(attributes->error(CTA_TIMEOUT_NAME, ENOENT, "no such policy"));
  }
  if (named != nullptr && named->use > 1) {
    return std::unexpected(attributes->error(CTA_TIMEOUT_NAME, EBUSY, "the policy is in use"));
  }
  policies_.remove_if([&](const Policy& policy) {
    const bool goes = policy.use == 1 && (!names_one || &policy == named);
    if (goes) connections_.policies().remove(policy.number);
    return goes;
  });
  return {};
}

/// IPCTNL_MSG_TIMEOUT_DEFAULT_SET: the knobs themselves.
Result<void> Cttimeout::set_default(const Request& request) {
  const auto attributes = Attributes::parse(request.message.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const auto complete =
      require(*attributes, {CTA_TIMEOUT_L3PROTO, CTA_TIMEOUT_L4PROTO, CTA_TIMEOUT_DATA});
  if (!complete) return complete;
  const auto protocol = read_protocol(*attributes);
  if (!protocol) return std::unexpected(protocol.error());
  TimeoutList& knobs = connections_.sysctl().timeouts(*protocol);
  const auto timeouts =
      rules::read_timeouts(attributes->nested(CTA_TIMEOUT_DATA), *protocol, knobs);
  if (!timeouts) return std::unexpected(timeouts.error());
  knobs = *timeouts;
  return {};
}

/// IPCTNL_MSG_TIMEOUT_DEFAULT_GET. The answer bears the number of the request to set them, as the
/// kernel's does.
Result<void> Cttimeout::get_default(const Request& request, Reply& reply) {
  const auto attributes = Attributes::parse(request.message.attributes(), kSchema);
  if (!attributes) return std::unexpected(attributes.error());
  const auto complete = require(*attributes, {CTA_TIMEOUT_L3PROTO, CTA_TIMEOUT_L4PROTO});
  if (!complete) return complete;
  const auto protocol = read_protocol(*attributes);
  if (!protocol) return std::unexpected(protocol.error());
  netlink::Writer& out = reply.writer();
  out.begin(start_of(request, IPCTNL_MSG_TIMEOUT_DEFAULT_SET));
  out.put_be16(CTA_TIMEOUT_L3PROTO, attributes->be16(CTA_TIMEOUT_L3PROTO).host());
  out.put_u8(CTA_TIMEOUT_L4PROTO, *protocol);
  write_data(out, *protocol, connections_.sysctl().timeouts(*protocol));
  out.end();
  return {};
}

}  // namespace weir::control
