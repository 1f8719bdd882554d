#include <linux/netfilter/nfnetlink_conntrack.h>

#include "control/ctnetlink/ctnetlink.h"

namespace weir::control {
namespace {

/// CTA_STATS_CHAIN_TOOLONG and CTA_STATS_CLASH_RESOLVE (Linux 5.10, 5.15).
constexpr std::uint16_t kClashResolve = 14;
constexpr std::uint16_t kChainTooLong = 15;

/// One message a worker, as the kernel has one a CPU.
class WorkerStatsDump final : public Dump {
 public:
  WorkerStatsDump(const conntrack::Table& table, const netlink::Writer::Start& start)
      : table_(table), start_(start) {}

  Result<Step> next(netlink::Writer& out, std::size_t) override {
    start_.resource_id = static_cast<std::uint16_t>(worker_);
    const conntrack::StatisticsSnapshot numbers = table_.statistics(worker_);
    out.begin(start_);
    const auto put = [&](std::uint16_t type, std::uint64_t value) {
      out.put_be32(type, static_cast<std::uint32_t>(value));
    };
    put(CTA_STATS_FOUND, numbers.found);
    put(CTA_STATS_INVALID, numbers.invalid);
    put(CTA_STATS_INSERT, numbers.insert);
    put(CTA_STATS_INSERT_FAILED, numbers.insert_failed);
    put(CTA_STATS_DROP, numbers.drop);
    put(CTA_STATS_EARLY_DROP, numbers.early_drop);
    put(CTA_STATS_ERROR, numbers.error);
    put(CTA_STATS_SEARCH_RESTART, numbers.search_restart);
    put(kClashResolve, numbers.clash_resolve);
    put(kChainTooLong, numbers.chain_too_long);
    out.end();
    return ++worker_ < table_.workers() ? Step::more : Step::done;
  }

 private:
  const conntrack::Table& table_;
  netlink::Writer::Start start_;
  std::uint32_t worker_ = 0;
};

}  // namespace

/// IPCTNL_MSG_CT_GET_STATS: how many connections there are and may be.
void Ctnetlink::get_stats(const Request& request, Reply& reply) const {
  netlink::Writer& out = reply.writer();
  auto start = request.answer(IPCTNL_MSG_CT_GET_STATS, NLM_F_MULTI);
  start.family = 0;
  out.begin(start);
  out.put_be32(CTA_STATS_GLOBAL_ENTRIES, table_.count());
  out.put_be32(CTA_STATS_GLOBAL_MAX_ENTRIES, table_.max());
  out.end();
}

/// IPCTNL_MSG_CT_GET_STATS_CPU.
Result<void> Ctnetlink::dump_worker_stats(const Request& request, Reply& reply) const {
  auto start = request.answer(IPCTNL_MSG_CT_GET_STATS_CPU);
  start.family = 0;
  return reply.start_dump(std::make_unique<WorkerStatsDump>(table_, start));
}

}  // namespace weir::control
