#include "daemon/supervision.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <utility>

namespace weir::daemon {
namespace {

constexpr Duration kUpdateEvery = std::chrono::seconds(1);

}  // namespace

Result<std::unique_ptr<Supervision>> Supervision::open(const Settings& settings,
                                                       ServiceManager manager,
                                                       const Watched& watched) {
  std::unique_ptr<Supervision> made(new Supervision(std::move(manager), watched));
  if (settings.metrics_listen.empty()) return made;
  const auto listen = parse_listen(settings.metrics_listen);
  if (!listen) return std::unexpected(listen.error());
  auto metrics = MetricsServer::open(*listen);
  if (!metrics) return std::unexpected(metrics.error());
  made->metrics_ = std::move(*metrics);
  spdlog::info("metrics at http://{}/metrics", settings.metrics_listen);
  return made;
}

void Supervision::tick(Time now) {
  std::vector<std::uint64_t> rounds;
  for (const auto& thread : watched_.threads) rounds.push_back(thread->rounds());
  if (watchdog_.is_alive(now, rounds)) manager_.alive();
  if (metrics_ != nullptr && now >= next_update_) {
    next_update_ = now + kUpdateEvery;
    metrics_->update(watched_.engine.stats());
  }
}

std::vector<control::Stat> Supervision::stats() const {
  std::vector<control::Stat> stats;
  for (std::size_t i = 0; i < watched_.threads.size(); ++i) {
    stats.push_back({fmt::format("worker.{}.rounds", i), watched_.threads[i]->rounds()});
    stats.push_back({fmt::format("worker.{}.cpu_ns", i),
                     static_cast<std::uint64_t>(watched_.threads[i]->cpu_time().count())});
  }
  stats.push_back({"netlink.sessions", watched_.server.sessions()});
  stats.push_back({"netlink.lost_datagrams", watched_.server.lost_datagrams()});
  stats.push_back({"reload.done", reloads_done_});
  stats.push_back({"reload.refused", reloads_refused_});
  process_.add_to(stats);
  return stats;
}

}  // namespace weir::daemon
