#include "daemon/metrics.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "base/file_descriptor.h"
#include "daemon/metrics_table.h"
#include "daemon/process_stats.h"
#include "engine/engine.h"

namespace weir::daemon {
namespace {

using testing::HasSubstr;

std::vector<control::Stat> stats_of_an_engine() {
  auto engine = engine::Engine::create({}, boot_time());
  EXPECT_TRUE(engine);
  (*engine)->add_port({.name = "lan", .ifindex = 1, .queues = {{}}});
  (*engine)->start();
  return (*engine)->stats();
}

TEST(Metrics, ExportEveryNumberOfTheEngine) {
  for (const control::Stat& stat : stats_of_an_engine())
    EXPECT_TRUE(metric_of(stat.name)) << stat.name << " has no row in metrics_table.cc";
}

TEST(Metrics, HaveNamesThatFollowPrometheusConventions) {
  std::set<std::string_view> names;
  for (const Metric& metric : metrics()) {
    EXPECT_TRUE(names.insert(metric.name).second) << metric.name << " twice";
    const bool is_counter = metric.kind == Metric::Kind::counter;
    EXPECT_EQ(metric.name.ends_with("_total"), is_counter) << metric.name;
    EXPECT_TRUE(metric.name.starts_with("weir_") || metric.name.starts_with("process_"));
    EXPECT_EQ(metric.stat.find('*') != std::string_view::npos, !metric.label.empty());
    EXPECT_TRUE(metric.help.ends_with('.')) << metric.name;
  }
}

TEST(Metrics, AreDocumented) {
  const std::filesystem::path here = __FILE__;
  std::ifstream file(here.parent_path() / "../../docs/METRICS.md");
  std::stringstream text;
  text << file.rdbuf();
  for (const Metric& metric : metrics()) {
    const std::string name = metric.label.empty()
                                 ? std::string(metric.name)
                                 : fmt::format("{}{{{}}}", metric.name, metric.label);
    const std::string row =
        fmt::format("| `{}` | {} | {} |\n", name,
                    metric.kind == Metric::Kind::counter ? "counter" : "gauge", metric.help);
    EXPECT_NE(text.str().find(row), std::string::npos) << "missing row: " << row;
  }
}

TEST(Metrics, LabelsAreTheWordsOfTheStar) {
  EXPECT_EQ(metric_of("port.lan.rx_packets")->label, "lan");
  EXPECT_EQ(metric_of("port.lan.rx_packets")->metric->name, "weir_port_receive_packets_total");
  EXPECT_EQ(metric_of("port.lan.host.rx_packets")->metric->name,
            "weir_port_host_receive_packets_total");
  EXPECT_EQ(metric_of("drop.no_route")->label, "no_route");
  EXPECT_FALSE(metric_of("port..rx_packets"));
  EXPECT_FALSE(metric_of("port.rx_packets"));
  EXPECT_FALSE(metric_of("unheard.of"));
}

TEST(Metrics, ArePrometheusText) {
  const std::string page = metrics_page({{"port.lan.rx_packets", 7},
                                         {"port.wan.rx_packets", 8},
                                         {"worker.0.cpu_ns", 1'500'000'000},
                                         {"conntrack.entries", 3}});
  EXPECT_THAT(page, HasSubstr("# TYPE weir_port_receive_packets_total counter\n"
                              "weir_port_receive_packets_total{port=\"lan\"} 7\n"
                              "weir_port_receive_packets_total{port=\"wan\"} 8\n"));
  EXPECT_THAT(page, HasSubstr("weir_worker_busy_seconds_total{worker=\"0\"} 1.5\n"));
  EXPECT_THAT(page, HasSubstr("# TYPE weir_conntrack_entries gauge\nweir_conntrack_entries 3\n"));
}

TEST(ProcessStats, AreThisProcess) {
  const ProcessStats process;
  std::vector<control::Stat> stats;
  process.add_to(stats);
  ASSERT_EQ(stats.size(), 3u);
  EXPECT_GT(stats[0].value, 1u << 20);
  EXPECT_GT(stats[1].value, 0u);
  EXPECT_NEAR(static_cast<double>(stats[2].value), static_cast<double>(wall_time().count()), 1e9);
}

sockaddr_in loopback(std::uint16_t port) {
  return {.sin_family = AF_INET,
          .sin_port = htons(port),
          .sin_addr = {htonl(INADDR_LOOPBACK)},
          .sin_zero = {}};
}

/// A port that is free, or in use for as long as the socket lives.
std::uint16_t some_port(const FileDescriptor& socket) {
  sockaddr_in address = loopback(0);
  socklen_t size = sizeof address;
  EXPECT_EQ(bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(listen(socket.get(), 1), 0);
  EXPECT_EQ(getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

std::string get(std::uint16_t port, const std::string& path) {
  const FileDescriptor client(socket(AF_INET, SOCK_STREAM, 0));
  const sockaddr_in address = loopback(port);
  EXPECT_EQ(connect(client.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  const std::string request = "GET " + path + " HTTP/1.0\r\n\r\n";
  EXPECT_GT(write(client.get(), request.data(), request.size()), 0);
  std::string answer;
  char buffer[4096];
  for (ssize_t got = 0; (got = read(client.get(), buffer, sizeof buffer)) > 0;)
    answer.append(buffer, static_cast<std::size_t>(got));
  return answer;
}

TEST(MetricsServer, AnswersWithTheLastNumbers) {
  std::uint16_t port = 0;
  {
    const FileDescriptor taken(socket(AF_INET, SOCK_STREAM, 0));
    port = some_port(taken);
  }
  auto server = MetricsServer::open({.address = "127.0.0.1", .port = port});
  ASSERT_TRUE(server) << server.error().text;
  (*server)->update({{"conntrack.entries", 5}});
  EXPECT_THAT(get(port, "/metrics"), HasSubstr("\nweir_conntrack_entries 5\n"));
  (*server)->update({{"conntrack.entries", 6}});
  EXPECT_THAT(get(port, "/metrics"), HasSubstr("\nweir_conntrack_entries 6\n"));
  EXPECT_THAT(get(port, "/"), HasSubstr("404 Not Found"));
}

TEST(MetricsServer, SaysThatTheAddressIsTaken) {
  const FileDescriptor taken(socket(AF_INET, SOCK_STREAM, 0));
  const std::uint16_t port = some_port(taken);
  const auto server = MetricsServer::open({.address = "127.0.0.1", .port = port});
  ASSERT_FALSE(server);
  EXPECT_THAT(server.error().text, HasSubstr(fmt::format("127.0.0.1:{}", port)));
}

}  // namespace
}  // namespace weir::daemon
