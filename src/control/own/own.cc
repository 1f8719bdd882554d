#include "control/own/own.h"

#include <cerrno>

#include "netlink/weir.h"

namespace weir::control {
namespace {

namespace own = netlink::own;

constexpr std::size_t kStatOverheadBytes = 32;  // Headers and padding of one kStat.

/// The numbers of one moment, as many a message as fit.
class StatsDump final : public Dump {
 public:
  StatsDump(const Request& request, std::vector<Stat> stats)
      : start_(request.answer(own::kStats)), stats_(std::move(stats)) {}

  Result<Step> next(netlink::Writer& out, std::size_t room) override {
    out.begin(start_);
    const std::size_t first = next_;
    while (next_ < stats_.size()) {
      const Stat& stat = stats_[next_];
      if (next_ != first && out.size() + stat.name.size() + kStatOverheadBytes > room) break;
      auto nest = out.nest(own::kStat);
      out.put_string(own::kStatName, stat.name);
      out.put_be64(own::kStatValue, stat.value);
      ++next_;
    }
    out.end();
    return next_ == stats_.size() ? Step::done : Step::more;
  }

 private:
  netlink::Writer::Start start_;
  std::vector<Stat> stats_;
  std::size_t next_ = 0;
};

}  // namespace

std::uint8_t OwnSubsystem::id() const { return own::kSubsystem; }

bool OwnSubsystem::is_change(std::uint8_t number) const { return number == own::kSetSysctl; }

Result<void> OwnSubsystem::handle(const Request& request, Reply& reply) {
  switch (request.message.number()) {
    case own::kGetStats:
      return reply.start_dump(std::make_unique<StatsDump>(request, stats_.stats()));
    case own::kGetSysctls:
      return get_sysctls(request, sysctls_, reply);
    case own::kSetSysctl:
      return control::set_sysctl(request, sysctls_);
    default:
      return std::unexpected(
          Error{EINVAL, "weir's subsystem has no such message; see docs/NETLINK.md"});
  }
}

}  // namespace weir::control
