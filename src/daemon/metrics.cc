#include "daemon/metrics.h"

#include <fmt/format.h>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>

#include <cerrno>
#include <exception>
#include <map>
#include <mutex>
#include <utility>

#include "daemon/metrics_table.h"
#include "version.h"

namespace weir::daemon {
namespace {

constexpr std::size_t kThreads = 2;  // civetweb has one to accept and these to answer.

prometheus::MetricFamily build_info() {
  prometheus::ClientMetric metric;
  metric.label.push_back({"version", std::string(kVersion)});
  metric.gauge.value = 1;
  return {.name = "weir_build_info",
          .help = "Always 1; the label says which weir this is.",
          .type = prometheus::MetricType::Gauge,
          .metric = {std::move(metric)}};
}

/// In the order of the table.
std::vector<prometheus::MetricFamily> families(const std::vector<control::Stat>& stats) {
  std::map<const Metric*, prometheus::MetricFamily> by_metric;
  for (const control::Stat& stat : stats) {
    const auto found = metric_of(stat.name);
    if (!found) continue;
    const Metric& metric = *found->metric;
    const bool is_counter = metric.kind == Metric::Kind::counter;
    prometheus::MetricFamily& family = by_metric[&metric];
    family.name = metric.name;
    family.help = metric.help;
    family.type = is_counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
    prometheus::ClientMetric sample;
    if (!metric.label.empty())
      sample.label.push_back({std::string(metric.label), std::string(found->label)});
    (is_counter ? sample.counter.value : sample.gauge.value) =
        static_cast<double>(stat.value) * metric.unit;
    family.metric.push_back(std::move(sample));
  }
  std::vector<prometheus::MetricFamily> list = {build_info()};
  for (auto& [metric, family] : by_metric) list.push_back(std::move(family));
  return list;
}

}  // namespace

/// The copy that the answering threads read.
class MetricsServer::Page final : public prometheus::Collectable {
 public:
  void update(std::vector<control::Stat> stats) {
    const std::lock_guard guard(lock_);
    stats_.swap(stats);
  }
  std::vector<prometheus::MetricFamily> Collect() const override {
    std::vector<control::Stat> stats;
    {
      const std::lock_guard guard(lock_);
      stats = stats_;
    }
    return families(stats);
  }

 private:
  mutable std::mutex lock_;  // Guards it.
  std::vector<control::Stat> stats_;
};

struct MetricsServer::Server {
  explicit Server(const std::string& listen) : exposer(listen, kThreads) {
    exposer.RegisterCollectable(page);
  }

  std::shared_ptr<Page> page = std::make_shared<Page>();
  prometheus::Exposer exposer;
};

Result<std::unique_ptr<MetricsServer>> MetricsServer::open(const ListenAddress& listen) {
  const bool is_ip6 = listen.address.find(':') != std::string::npos;
  const std::string name = is_ip6 ? fmt::format("[{}]:{}", listen.address, listen.port)
                                  : fmt::format("{}:{}", listen.address, listen.port);
  try {
    return std::unique_ptr<MetricsServer>(new MetricsServer(std::make_unique<Server>(name)));
  } catch (const std::exception&) {  // What it says isn't more than this.
    return std::unexpected(
        Error{EADDRNOTAVAIL, fmt::format("metrics.listen: can't listen at {}; is the address this "
                                         "host's, and the port free and above 1023?",
                                         name)});
  }
}

MetricsServer::MetricsServer(std::unique_ptr<Server> server) : server_(std::move(server)) {}
MetricsServer::~MetricsServer() = default;

void MetricsServer::update(std::vector<control::Stat> stats) {
  server_->page->update(std::move(stats));
}

std::string metrics_page(const std::vector<control::Stat>& stats) {
  return prometheus::TextSerializer().Serialize(families(stats));
}

}  // namespace weir::daemon
