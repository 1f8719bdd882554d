#include "bench/bench.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/exit_code.h"
#include "wire/protocol.h"

namespace weir::bench {
namespace {

void print_json(const Task& task, const Report& report) {
  const double median = report.median_ns();
  const nlohmann::ordered_json json = {
      {"bench", task.what},
      {"ns_per_packet", median},
      {"packets_per_second", 1e9 / median * task.threads},
      {"packets", report.packets},
      {"flows", task.flows},
      {"batch", task.batch},
      {"threads", task.threads},
      {"proto", std::string(wire::protocol_name(task.protocol))},
      {"family", task.family == wire::Family::ip ? "ip" : "ip6"},
      {"generator_ns", report.generator_ns},
      {"bytes_per_connection", report.connection_bytes},
      {"runs", report.runs_ns},
      {"verified", report.is_verified},
  };
  fmt::print("{}\n", json.dump(2));
}

void print_text(const Task& task, const Report& report) {
  const double median = report.median_ns();
  const auto [least, most] = std::minmax_element(report.runs_ns.begin(), report.runs_ns.end());
  fmt::print("{}: {} flows, {} over {}, batch {}, {} thread(s)\n", task.what, task.flows,
             wire::protocol_name(task.protocol), task.family == wire::Family::ip ? "IPv4" : "IPv6",
             task.batch, task.threads);
  fmt::print(
      "  {:.1f} ns a packet (median of {} runs, {:.1f} to {:.1f}; generator of {:.1f} ns "
      "subtracted)\n",
      median, report.runs_ns.size(), *least, *most, report.generator_ns);
  fmt::print("  {:.2f} million packets a second, {} packets in all\n", 1e3 / median * task.threads,
             report.packets);
  fmt::print("  {:.1f} bytes a connection in table and index\n", report.connection_bytes);
  fmt::print("  {}\n", report.is_verified ? "verified: counters, states and checksums are right"
                                          : "NOT VERIFIED: " + report.problem);
}

struct CommandLine {
  Task task;
  std::string protocol = "udp";
  std::string family = "ip";
  bool as_json = false;
};

void add_options(CLI::App& app, CommandLine& line) {
  app.add_option("what", line.task.what,
                 "conntrack: look-up and update of established flows; path: the whole path with "
                 "rules, SNAT and route; create: new flows; snat: new flows through the whole path")
      ->required()
      ->check(CLI::IsMember({"conntrack", "path", "create", "snat"}));
  app.add_option("--flows", line.task.flows, "connections (default 16384)")
      ->check(CLI::Range(1u, 1u << 26));
  app.add_option("--batch", line.task.batch, "packets a batch (default 64)")
      ->check(CLI::Range(1, 64));
  app.add_option("--threads", line.task.threads, "workers, each with flows of its own (default 1)")
      ->check(CLI::Range(1, 64));
  app.add_option("--proto", line.protocol, "udp or tcp (default udp)")
      ->check(CLI::IsMember({"udp", "tcp"}));
  app.add_option("--family", line.family, "ip or ip6 (default ip)")
      ->check(CLI::IsMember({"ip", "ip6"}));
  app.add_option("--runs", line.task.runs, "runs, of which the median counts (default 5)")
      ->check(CLI::Range(1, 100));
  app.add_option("--seconds", line.task.seconds, "length of a run (default 0.5)")
      ->check(CLI::Range(0.01, 600.0));
  app.add_flag("--json", line.as_json, "one JSON object");
  app.footer(
      "Examples:\n"
      "  weir bench conntrack --flows 1000000\n"
      "  weir bench path --flows 16384 --proto tcp --json\n\n"
      "In memory, through the same engine as `weir run`: 64-byte frames, distinct tuples, both "
      "directions.\n"
      "Exit codes: 0 done and verified, 1 not verified or refused, 2 wrong usage.");
}

Result<Report> measure(const Task& task) {
  if (task.what == "conntrack") return bench_conntrack(task);
  if (task.what == "create") return bench_create(task);
  return task.what == "snat" ? bench_snat(task) : bench_path(task);
}

}  // namespace

double Report::median_ns() const {
  std::vector<double> sorted = runs_ns;
  std::sort(sorted.begin(), sorted.end());
  const std::size_t half = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

int bench_main(int argc, char** argv) {
  CLI::App app("Measures the engine in memory.", "weir bench");
  CommandLine line;
  add_options(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kWrongUsage;
  }
  line.task.protocol = line.protocol == "tcp" ? wire::protocol::kTcp : wire::protocol::kUdp;
  line.task.family = line.family == "ip" ? wire::Family::ip : wire::Family::ip6;

  const auto report = measure(line.task);
  if (!report) {
    fmt::print(stderr, "weir bench: {}\n", report.error().text);
    return kRefused;
  }
  if (line.as_json) {
    print_json(line.task, *report);
  } else {
    print_text(line.task, *report);
  }
  return report->is_verified ? kDone : kRefused;
}

}  // namespace weir::bench
