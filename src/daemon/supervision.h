#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "control/own/own.h"
#include "control/server/server.h"
#include "daemon/metrics.h"
#include "daemon/notify.h"
#include "daemon/process_stats.h"
#include "daemon/settings.h"
#include "daemon/watchdog.h"
#include "daemon/worker_thread.h"

namespace weir::daemon {

/// What others see of a running engine: the service manager (ready, reloading, alive), Prometheus,
/// and the numbers of threads, tools and process that come with the engine's own. Belongs to the
/// control thread.
class Supervision final : public control::StatsSource {
 public:
  /// What it looks at; all of it outlives it.
  struct Watched {
    const control::StatsSource& engine;
    const control::Server& server;
    const std::vector<std::unique_ptr<WorkerThread>>& threads;
  };

  /// Listens for Prometheus when the settings say so. Errors: when that can't be.
  static Result<std::unique_ptr<Supervision>> open(const Settings& settings, ServiceManager manager,
                                                   const Watched& watched);

  const ServiceManager& manager() const { return manager_; }
  void count_reload(bool is_done) { ++(is_done ? reloads_done_ : reloads_refused_); }

  /// Some times a second.
  void tick(Time now);

  /// Of threads, tools and process.
  std::vector<control::Stat> stats() const override;

 private:
  Supervision(ServiceManager manager, const Watched& watched)
      : manager_(std::move(manager)), watched_(watched), watchdog_(manager_.watchdog()) {}

  const ServiceManager manager_;
  const Watched watched_;
  Watchdog watchdog_;
  const ProcessStats process_;
  std::unique_ptr<MetricsServer> metrics_;
  Time next_update_{};
  std::uint64_t reloads_done_ = 0;
  std::uint64_t reloads_refused_ = 0;
};

}  // namespace weir::daemon
