#include <linux/netfilter/nfnetlink_conntrack.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "control/ctnetlink/ctnetlink.h"

namespace weir::control {
namespace {

constexpr std::uint32_t kReferences = 1;  ///< CTA_USE: the table's.
/// Entries looked at in one step, and connections taken out of it.
constexpr std::size_t kEntriesAStep = 256;
constexpr std::size_t kConnectionsAStep = 32;

/// Walks the table's entries by number, so what lives all through the dump is shown exactly once.
class ConnectionDump final : public Dump {
 public:
  ConnectionDump(conntrack::Control& control, const ctnetlink::Filter& filter,
                 std::function<Time()> now, bool zeroes, const netlink::Writer::Start& start)
      : control_(control), filter_(filter), now_(now), zeroes_(zeroes), start_(start) {
    found_.reserve(kConnectionsAStep);
  }

  Result<Step> next(netlink::Writer& out, std::size_t) override {
    if (shown_ == found_.size() && !look_further()) return Step::done;
    if (shown_ < found_.size()) show(out, found_[shown_++]);
    return is_walked_ && shown_ == found_.size() ? Step::done : Step::more;
  }

 private:
  /// False when there is nothing left to look at.
  bool look_further() {
    if (is_walked_) return false;
    found_.clear();
    shown_ = 0;
    is_walked_ = !control_.dump(cursor_, kEntriesAStep, now_(),
                                [this](const conntrack::Snapshot& connection) {
                                  if (found_.size() == kConnectionsAStep) return false;
                                  if (filter_.matches(connection)) found_.push_back(connection);
                                  return true;
                                });
    if (zeroes_) control_.zero_counters(found_);
    return true;
  }

  void show(netlink::Writer& out, const conntrack::Snapshot& connection) {
    start_.family = static_cast<std::uint8_t>(connection.original.family);
    out.begin(start_);
    ctnetlink::write_connection(out, connection, now_(), kReferences);
    out.end();
  }

  conntrack::Control& control_;
  ctnetlink::Filter filter_;
  std::function<Time()> now_;
  bool zeroes_;
  netlink::Writer::Start start_;
  conntrack::Control::Cursor cursor_;
  std::vector<conntrack::Snapshot> found_;
  std::size_t shown_ = 0;
  bool is_walked_ = false;
};

/// Those whose end a reliable listener has not been told of yet.
class DyingDump final : public Dump {
 public:
  DyingDump(const ConnectionEvents& events, std::function<Time()> now,
            const netlink::Writer::Start& start)
      : events_(events), now_(now), start_(start), next_(events.first_undelivered()) {}

  Result<Step> next(netlink::Writer& out, std::size_t) override {
    next_ = std::max(next_, events_.first_undelivered());
    const std::uint64_t index = next_ - events_.first_undelivered();
    if (index >= events_.undelivered().size()) return Step::done;
    const conntrack::Snapshot& connection = events_.undelivered()[index].connection;
    start_.family = static_cast<std::uint8_t>(connection.original.family);
    out.begin(start_);
    ctnetlink::write_connection(out, connection, now_(), kReferences);
    out.end();
    ++next_;
    return Step::more;
  }

 private:
  const ConnectionEvents& events_;
  std::function<Time()> now_;
  netlink::Writer::Start start_;
  std::uint64_t next_;
};

class EmptyDump final : public Dump {
 public:
  Result<Step> next(netlink::Writer&, std::size_t) override { return Step::done; }
};

}  // namespace

/// IPCTNL_MSG_CT_GET and _CTRZERO with NLM_F_DUMP.
Result<void> Ctnetlink::dump(const Request& request, Reply& reply, bool zeroes) {
  const auto attributes = ctnetlink::parse_request(request.message);
  if (!attributes) return std::unexpected(attributes.error());
  const auto filter = ctnetlink::Filter::read(*attributes, request.message.family().nfgen_family);
  if (!filter) return std::unexpected(filter.error());
  const std::uint16_t flags = filter->is_narrow() ? NLM_F_DUMP_FILTERED : 0;
  return reply.start_dump(std::make_unique<ConnectionDump>(
      control_, *filter, now_, zeroes, request.answer(IPCTNL_MSG_CT_NEW, flags)));
}

/// IPCTNL_MSG_CT_GET_DYING
Result<void> Ctnetlink::dump_dying(const Request& request, Reply& reply) const {
  if (!request.is_dump()) {
    return std::unexpected(Error{EOPNOTSUPP, "this list can only be dumped"});
  }
  if (events_ == nullptr) return reply.start_dump(std::make_unique<EmptyDump>());
  return reply.start_dump(
      std::make_unique<DyingDump>(*events_, now_, request.answer(IPCTNL_MSG_CT_NEW)));
}

/// IPCTNL_MSG_CT_GET_UNCONFIRMED: an entry belongs to its first packet's worker alone until that
/// has passed, so it can't be listed.
Result<void> Ctnetlink::dump_unconfirmed(const Request& request, Reply& reply) const {
  if (!request.is_dump()) {
    return std::unexpected(Error{EOPNOTSUPP, "this list can only be dumped"});
  }
  return reply.start_dump(std::make_unique<EmptyDump>());
}

}  // namespace weir::control
