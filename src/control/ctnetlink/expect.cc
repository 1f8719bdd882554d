#include "control/ctnetlink/expect.h"

#include <linux/netfilter/nfnetlink_conntrack.h>

#include <cerrno>
#include <vector>

#include "control/ctnetlink/attributes.h"
#include "helpers/list.h"

namespace weir::control {
namespace {

using conntrack::ExpectationChange;
using conntrack::Expectations;
using conntrack::ExpectationSnapshot;

constexpr std::uint32_t kHelperNameMax = 15;  // NF_CT_HELPER_NAME_LEN without its NUL.

constexpr netlink::Rule kSchema[] = {
    {.type = CTA_EXPECT_MASTER, .kind = netlink::Kind::nested},
    {.type = CTA_EXPECT_TUPLE, .kind = netlink::Kind::nested},
    {.type = CTA_EXPECT_MASK, .kind = netlink::Kind::nested},
    {.type = CTA_EXPECT_TIMEOUT, .kind = netlink::Kind::u32},
    {.type = CTA_EXPECT_ID, .kind = netlink::Kind::u32},
    {.type = CTA_EXPECT_HELP_NAME, .kind = netlink::Kind::nul_string, .max_bytes = kHelperNameMax},
    {.type = CTA_EXPECT_ZONE, .kind = netlink::Kind::u16},
    {.type = CTA_EXPECT_FLAGS, .kind = netlink::Kind::u32, .mask = 7},
    {.type = CTA_EXPECT_CLASS, .kind = netlink::Kind::u32},
    {.type = CTA_EXPECT_NAT, .kind = netlink::Kind::nested},
    {.type = CTA_EXPECT_FN, .kind = netlink::Kind::nul_string},
};

/// Everything below the last number, looked at in steps.
class ExpectationDump final : public Dump {
 public:
  struct Which {
    std::uint8_t family = 0;   // Zero: all.
    std::uint32_t master = 0;  // By number; zero: of all.
  };

  ExpectationDump(const Expectations& expectations, const Which& which, std::function<Time()> now,
                  const netlink::Writer::Start& start)
      : expectations_(expectations), which_(which), now_(now), start_(start) {}

  Result<Step> next(netlink::Writer& out, std::size_t) override {
    constexpr int kNumbersAStep = 256;
    const std::uint32_t end = expectations_.used_end();
    for (int i = 0; i < kNumbersAStep && next_ < end; ++i) {
      const auto found = expectations_.snapshot(next_++, now_());
      if (!found || !matches(*found)) continue;
      start_.family = static_cast<std::uint8_t>(found->expected.tuple.family);
      out.begin(start_);
      ctnetlink::write_expectation(out, *found, now_());
      out.end();
      break;
    }
    return next_ < end ? Step::more : Step::done;
  }

 private:
  bool matches(const ExpectationSnapshot& found) const {
    const auto family = static_cast<std::uint8_t>(found.expected.tuple.family);
    return (which_.family == 0 || which_.family == family) &&
           (which_.master == 0 || which_.master == found.master);
  }

  const Expectations& expectations_;
  const Which which_;
  std::function<Time()> now_;
  netlink::Writer::Start start_;
  std::uint32_t next_ = 1;
};

/// One message a worker, as the kernel has one a CPU. They are counted for all together.
class StatsDump final : public Dump {
 public:
  StatsDump(const conntrack::Table& table, const Expectations& expectations,
            const netlink::Writer::Start& start)
      : table_(table), expectations_(expectations), start_(start) {}

  Result<Step> next(netlink::Writer& out, std::size_t) override {
    start_.resource_id = static_cast<std::uint16_t>(worker_);
    const Expectations::Counts& counts = expectations_.counts();
    const auto put = [&](std::uint16_t type, const Counter& counter) {
      const std::uint64_t value = worker_ == 0 ? counter.value() : 0;
      out.put_be32(type, static_cast<std::uint32_t>(value));
    };
    out.begin(start_);
    put(CTA_STATS_EXP_NEW, counts.arrived);
    put(CTA_STATS_EXP_CREATE, counts.created);
    put(CTA_STATS_EXP_DELETE, counts.deleted);
    out.end();
    return ++worker_ < table_.workers() ? Step::more : Step::done;
  }

 private:
  const conntrack::Table& table_;
  const Expectations& expectations_;
  netlink::Writer::Start start_;
  std::uint32_t worker_ = 0;
};

/// The mask as a tuple: of the destination it covers everything.
conntrack::Tuple mask_tuple(const conntrack::Expected& expected) {
  conntrack::Tuple mask = expected.tuple;
  mask.src = expected.source_mask;
  mask.dst = conntrack::all_of(mask.family);
  mask.src_port = expected.source_port_mask;
  mask.dst_port = Be16::from_host(0xffff);
  return mask;
}

void write_nat(netlink::Writer& out, const ExpectationSnapshot& expectation) {
  const conntrack::ExpectedNat& nat = expectation.nat;
  if (nat.address.is_zero() && nat.port.raw == 0) return;
  conntrack::Tuple tuple{.src = nat.address,
                         .dst = {},
                         .src_port = nat.port,
                         .dst_port = Be16{0},
                         .family = expectation.master_tuple.family,
                         .protocol = expectation.master_tuple.protocol};
  const auto nest = out.nest(CTA_EXPECT_NAT);
  out.put_be32(CTA_EXPECT_NAT_DIR, static_cast<std::uint32_t>(nat.direction));
  ctnetlink::write_tuple(out, CTA_EXPECT_NAT_TUPLE, tuple, 0);
}

}  // namespace

namespace ctnetlink {

void write_expectation(netlink::Writer& out, const ExpectationSnapshot& expectation, Time now) {
  write_tuple(out, CTA_EXPECT_TUPLE, expectation.expected.tuple, 0);
  write_tuple(out, CTA_EXPECT_MASK, mask_tuple(expectation.expected), 0);
  write_tuple(out, CTA_EXPECT_MASTER, expectation.master_tuple, 0);
  if (expectation.master_tuple.zone != 0) {
    out.put_be16(CTA_EXPECT_ZONE, expectation.master_tuple.zone);
  }
  write_nat(out, expectation);
  const auto left =
      std::chrono::duration_cast<std::chrono::seconds>(expectation.expires_in(now)).count();
  out.put_be32(CTA_EXPECT_TIMEOUT, static_cast<std::uint32_t>(left));
  out.put_be32(CTA_EXPECT_ID, Be32{expectation.id});
  out.put_be32(CTA_EXPECT_FLAGS, expectation.flags);
  out.put_be32(CTA_EXPECT_CLASS, std::uint32_t{expectation.class_number});
  const std::string_view helper = helpers::name_of(expectation.master_helper);
  if (!helper.empty()) out.put_string(CTA_EXPECT_HELP_NAME, helper);
  if (expectation.nat.follows_master) out.put_string(CTA_EXPECT_FN, "nat-follow-master");
}

Result<netlink::Attributes> parse_expectation(const netlink::Message& message) {
  return netlink::Attributes::parse(message.attributes(), kSchema);
}

Result<conntrack::Tuple> read_expectation_tuple(const netlink::Message& message,
                                                const netlink::Attributes& attributes,
                                                std::uint16_t type) {
  auto tuple = read_tuple(attributes.find(type), message.family().nfgen_family, nullptr);
  if (tuple) tuple->zone = attributes.be16(CTA_EXPECT_ZONE).host();
  return tuple;
}

}  // namespace ctnetlink

std::uint8_t CtnetlinkExpect::id() const { return NFNL_SUBSYS_CTNETLINK_EXP; }

bool CtnetlinkExpect::is_change(std::uint8_t number) const {
  return number == IPCTNL_MSG_EXP_NEW || number == IPCTNL_MSG_EXP_DELETE;
}

Result<void> CtnetlinkExpect::handle(const Request& request, Reply& reply) {
  switch (request.message.number()) {
    case IPCTNL_MSG_EXP_NEW:
      return make_or_change(request);
    case IPCTNL_MSG_EXP_GET:
      return request.is_dump() ? dump(request, reply) : get(request, reply);
    case IPCTNL_MSG_EXP_DELETE:
      return remove(request);
    case IPCTNL_MSG_EXP_GET_STATS_CPU:
      if (request.is_dump()) return dump_worker_stats(request, reply);
      return {};  // As the kernel: nothing is answered.
    default:
      return std::unexpected(Error{EINVAL, "ctnetlink_exp has no such message"});
  }
}

/// IPCTNL_MSG_EXP_GET without NLM_F_DUMP: the one that a connection with this first tuple, or with
/// that of the named master, would meet.
Result<void> CtnetlinkExpect::get(const Request& request, Reply& reply) {
  const auto attributes = ctnetlink::parse_expectation(request.message);
  if (!attributes) return std::unexpected(attributes.error());
  const std::uint16_t by = attributes->has(CTA_EXPECT_TUPLE) ? CTA_EXPECT_TUPLE : CTA_EXPECT_MASTER;
  if (!attributes->has(by)) {
    return std::unexpected(Error{EINVAL, "neither a tuple nor a master is named"});
  }
  const auto tuple = ctnetlink::read_expectation_tuple(request.message, *attributes, by);
  if (!tuple) return std::unexpected(tuple.error());
  const auto found = table_.expectations().find(*tuple, now_());
  const bool is_other =
      found && attributes->has(CTA_EXPECT_ID) && attributes->be32(CTA_EXPECT_ID).raw != found->id;
  if (!found || is_other) return std::unexpected(Error{ENOENT, "nothing like that is expected"});

  netlink::Writer& out = reply.writer();
  netlink::Writer::Start start = request.answer(IPCTNL_MSG_EXP_NEW, NLM_F_MULTI);
  start.family = static_cast<std::uint8_t>(found->expected.tuple.family);
  out.begin(start);
  ctnetlink::write_expectation(out, *found, now_());
  out.end();
  return {};
}

/// With CTA_EXPECT_MASTER only what that connection expects.
Result<void> CtnetlinkExpect::dump(const Request& request, Reply& reply) {
  const auto attributes = ctnetlink::parse_expectation(request.message);
  if (!attributes) return std::unexpected(attributes.error());
  ExpectationDump::Which which{.family = request.message.family().nfgen_family, .master = 0};
  if (attributes->has(CTA_EXPECT_MASTER)) {
    const auto tuple =
        ctnetlink::read_expectation_tuple(request.message, *attributes, CTA_EXPECT_MASTER);
    if (!tuple) return std::unexpected(tuple.error());
    const auto master = control_.find(*tuple, now_());
    if (!master) return std::unexpected(Error{ENOENT, "no connection has the master's tuple"});
    which = {.family = 0, .master = master->number};
  }
  return reply.start_dump(std::make_unique<ExpectationDump>(
      table_.expectations(), which, now_, request.answer(IPCTNL_MSG_EXP_NEW, NLM_F_MULTI)));
}

Result<void> CtnetlinkExpect::dump_worker_stats(const Request& request, Reply& reply) const {
  // The kernel answers under the other subsystem's number.
  netlink::Writer::Start start = request.answer(IPCTNL_MSG_EXP_GET_STATS_CPU);
  start.type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_EXP_GET_STATS_CPU;
  start.family = 0;
  return reply.start_dump(std::make_unique<StatsDump>(table_, table_.expectations(), start));
}

/// IPCTNL_MSG_EXP_DELETE: one by its tuple, those of one helper's connections, or all.
Result<void> CtnetlinkExpect::remove(const Request& request) {
  const auto attributes = ctnetlink::parse_expectation(request.message);
  if (!attributes) return std::unexpected(attributes.error());
  if (attributes->has(CTA_EXPECT_TUPLE)) {
    const auto tuple =
        ctnetlink::read_expectation_tuple(request.message, *attributes, CTA_EXPECT_TUPLE);
    if (!tuple) return std::unexpected(tuple.error());
    const auto found = table_.expectations().find(*tuple, now_());
    const bool is_other =
        found && attributes->has(CTA_EXPECT_ID) && attributes->be32(CTA_EXPECT_ID).raw != found->id;
    const bool is_gone =
        found && !is_other &&
        change(*found, {.kind = ExpectationChange::Kind::remove, .port_id = request.port_id}) == 0;
    if (!is_gone) return std::unexpected(Error{ENOENT, "nothing like that is expected"});
    return {};
  }
  const bool has_helper = attributes->has(CTA_EXPECT_HELP_NAME);
  const std::string_view helper = attributes->string(CTA_EXPECT_HELP_NAME);
  remove_all(request.port_id, [&](const ExpectationSnapshot& expectation) {
    return !has_helper || helpers::name_of(expectation.master_helper) == helper;
  });
  return {};
}

template <typename Goes>
void CtnetlinkExpect::remove_all(std::uint32_t port_id, Goes&& goes) {
  const std::uint32_t end = table_.expectations().used_end();
  for (std::uint32_t number = 1; number < end; ++number) {
    const auto found = table_.expectations().snapshot(number, now_());
    if (!found || !goes(*found)) continue;
    change(*found, {.kind = ExpectationChange::Kind::remove, .port_id = port_id});
  }
}

/// Zero or an errno.
int CtnetlinkExpect::change(const ExpectationSnapshot& expectation, ExpectationChange change) {
  change.number = expectation.number;
  change.id = expectation.id;
  return control_.expect(expectation.master, expectation.master_generation, change);
}

}  // namespace weir::control
