#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "control/own/own.h"
#include "daemon/settings.h"

namespace weir::daemon {

/// Lets Prometheus read weir's numbers, at http://ADDRESS:PORT/metrics. Threads of its own answer,
/// from a copy that the control thread renews: workers never notice.
class MetricsServer {
 public:
  /// Listens. Errors: EADDRNOTAVAIL when it can't, e.g. because the address is in use.
  static Result<std::unique_ptr<MetricsServer>> open(const ListenAddress& listen);
  ~MetricsServer();

  /// The numbers of now (metrics_table.h). On the control thread.
  void update(std::vector<control::Stat> stats);

 private:
  class Page;
  struct Server;
  explicit MetricsServer(std::unique_ptr<Server> server);

  std::unique_ptr<Server> server_;
};

/// The numbers as Prometheus reads them (text format 0.0.4).
std::string metrics_page(const std::vector<control::Stat>& stats);

}  // namespace weir::daemon
