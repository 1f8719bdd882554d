// Plays scenarios and compares what happens with what they expect. docs/SCENARIOS.md says how
// scenarios are written; `scenario --help` how this is called.

#include <fmt/format.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>

#include "tests/oracle/kernel_driver.h"
#include "tests/scenarios/engine_driver.h"
#include "tests/support/play.h"

namespace weir::test {
namespace {

namespace fs = std::filesystem;

constexpr unsigned kSecondsPerScenario = 60;
constexpr std::size_t kMostDifferences = 10;

constexpr std::string_view kHelp = R"(usage: scenario [OPTIONS] [NAME…]

Plays the scenarios below --folder, all or those whose names contain one of the NAMEs.

  --driver DRIVER   which gateway to test: kernel (the oracle) or engine (the default)
  --folder DIR      where the *.scenario files are
  --differences FILE  the list of deliberate differences
  --jobs N          how many to play at once (default 8)
  --selftest        makes one expectation of each scenario wrong, one after another, and expects
                    every single one to be noticed
  --list            prints names and titles

  scenario tcp/             plays every TCP scenario
  scenario --list nat/      says what the NAT scenarios are about
)";

struct Options {
  std::string driver = "engine";
  fs::path folder = WEIR_SCENARIOS_FOLDER;
  fs::path differences = WEIR_DIFFERENCES_FILE;
  std::size_t jobs = 8;
  bool is_selftest = false;
  bool is_list = false;
  std::vector<std::string> names;
};

/// One thing to play: a scenario, or one that has been spoilt and must fail.
struct Job {
  Scenario scenario;
  std::string spoilt;  // What was made wrong; empty for an honest run.
};

struct Running {
  const Job* job = nullptr;
  int pipe = -1;
};

struct Tally {
  std::size_t passed = 0;
  std::size_t failed = 0;

  void count(const Job& job, const std::string& failure) {
    const bool is_noticed = !failure.empty() && !failure.starts_with("set-up");
    const bool is_right = job.spoilt.empty() ? failure.empty() : is_noticed;
    ++(is_right ? passed : failed);
    if (job.spoilt.empty()) {
      fmt::print("{} {}\n", is_right ? "equal    " : "DIFFERENT", job.scenario.name);
      if (!is_right) fmt::print("  {}\n", failure);
    } else if (!is_right) {
      fmt::print("UNNOTICED {}: {}\n", job.scenario.name, job.spoilt);
    }
    std::fflush(stdout);
  }
};

bool is_chosen(const Options& options, const std::string& name) {
  return options.names.empty() || std::ranges::any_of(options.names, [&](const std::string& part) {
           return name.find(part) != std::string::npos;
         });
}

Result<std::vector<Scenario>> read_all(const Options& options) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::recursive_directory_iterator(options.folder)) {
    if (entry.path().extension() == ".scenario") paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  std::vector<Scenario> scenarios;
  for (const fs::path& path : paths) {
    const std::string name = fs::relative(path, options.folder).replace_extension().string();
    if (!is_chosen(options, name)) continue;
    Result<Scenario> scenario = read_scenario(path, name);
    if (!scenario) {
      return std::unexpected(
          Error{EINVAL, fmt::format("{}:{}", path.string(), scenario.error().text)});
    }
    scenarios.push_back(std::move(*scenario));
  }
  return scenarios;
}

/// A scenario may differ only by a reason that the list gives; TCP, NAT and ICMP never may.
Result<void> check_differences(const Options& options, const std::vector<Scenario>& scenarios) {
  std::ifstream file(options.differences);
  std::stringstream text;
  text << file.rdbuf();
  std::size_t count = 0;
  for (const Scenario& scenario : scenarios) {
    if (scenario.differs.empty()) continue;
    ++count;
    const std::string folder = scenario.name.substr(0, scenario.name.find('/'));
    if (folder == "tcp" || folder == "nat" || folder == "icmp") {
      return std::unexpected(Error{EINVAL, scenario.name + ": TCP, NAT and ICMP may not differ"});
    }
    if (text.str().find("{#" + scenario.differs + "}") == std::string::npos) {
      return std::unexpected(
          Error{EINVAL, fmt::format("{}: {} has no {{#{}}}", scenario.name,
                                    options.differences.string(), scenario.differs)});
    }
  }
  if (count > kMostDifferences) {
    return std::unexpected(
        Error{EINVAL, fmt::format("{} scenarios differ, at most {} may", count, kMostDifferences)});
  }
  return {};
}

std::vector<Job> make_jobs(const Options& options, std::vector<Scenario> scenarios) {
  std::vector<Job> jobs;
  for (Scenario& scenario : scenarios) {
    if (!options.is_selftest) {
      jobs.push_back({std::move(scenario), ""});
      continue;
    }
    keep_side(scenario, options.driver == "engine" ? Side::weir : Side::kernel);
    for (std::size_t i = 0; i < count_expectations(scenario); ++i) {
      Job job{scenario, ""};
      job.spoilt = spoil(job.scenario, i);
      jobs.push_back(std::move(job));
    }
  }
  return jobs;
}

std::unique_ptr<Driver> make_driver(bool is_engine) {
  if (is_engine) return std::make_unique<EngineDriver>();
  return std::make_unique<KernelDriver>();
}

/// A child process plays it: it has namespaces of its own, and a crash costs one scenario.
Running start(const Job& job, bool is_engine) {
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) std::abort();
  std::fflush(stdout);
  if (fork() == 0) {
    close(ends[0]);
    alarm(kSecondsPerScenario);
    const std::unique_ptr<Driver> driver = make_driver(is_engine);
    const Outcome outcome = play(job.scenario, is_engine ? Side::weir : Side::kernel, *driver);
    const std::string answer = outcome.is_equal() ? "=" : outcome.failure;
    const ssize_t written =
        write(ends[1], answer.data(), std::min<std::size_t>(answer.size(), 60000));
    _exit(written < 0 ? 1 : 0);
  }
  close(ends[1]);
  return {&job, ends[0]};
}

/// What the child wrote, when it has ended: "=" for success.
std::string finish(const Running& running) {
  std::string answer;
  std::array<char, 4096> buffer;
  for (ssize_t n; (n = read(running.pipe, buffer.data(), buffer.size())) > 0;) {
    answer.append(buffer.data(), static_cast<std::size_t>(n));
  }
  close(running.pipe);
  return answer;
}

Tally play_all(const std::vector<Job>& jobs, std::size_t at_once, bool is_engine) {
  Tally tally;
  std::vector<Running> running;
  std::size_t next = 0;
  while (next < jobs.size() || !running.empty()) {
    while (next < jobs.size() && running.size() < at_once)
      running.push_back(start(jobs[next++], is_engine));
    std::vector<pollfd> polled;
    for (const Running& child : running) {
      polled.push_back({.fd = child.pipe, .events = POLLIN, .revents = 0});
    }
    poll(polled.data(), polled.size(), -1);
    const auto ready = std::ranges::find_if(polled, [](const pollfd& p) { return p.revents != 0; });
    if (ready == polled.end()) continue;
    const auto child = running.begin() + (ready - polled.begin());
    const std::string answer = finish(*child);
    tally.count(*child->job, answer == "="    ? ""
                             : answer.empty() ? "the scenario crashed or hung"
                                              : answer);
    running.erase(child);
    waitpid(-1, nullptr, WNOHANG);
  }
  while (waitpid(-1, nullptr, 0) > 0) {
  }
  return tally;
}

bool read_option(Options& options, const std::string& name, const std::string& value) {
  if (name == "--driver") {
    options.driver = value;
  } else if (name == "--folder") {
    options.folder = value;
  } else if (name == "--differences") {
    options.differences = value;
  } else if (name == "--jobs") {
    options.jobs = std::max(1, std::atoi(value.c_str()));
  } else {
    return false;
  }
  return true;
}

bool read_options(Options& options, int count, char** words) {
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (word == "--selftest") {
      options.is_selftest = true;
    } else if (word == "--list") {
      options.is_list = true;
    } else if (!word.starts_with("--")) {
      options.names.push_back(word);
    } else if (i + 1 == count || !read_option(options, word, words[++i])) {
      return false;
    }
  }
  return options.driver == "kernel" || options.driver == "engine";
}

int run(const Options& options) {
  Result<std::vector<Scenario>> scenarios = read_all(options);
  if (!scenarios) {
    fmt::print(stderr, "scenario: {}\n", scenarios.error().text);
    return 1;
  }
  if (const auto allowed = check_differences(options, *scenarios); !allowed) {
    fmt::print(stderr, "scenario: {}\n", allowed.error().text);
    return 1;
  }
  if (options.is_list) {
    for (const Scenario& scenario : *scenarios)
      fmt::print("{}: {}\n", scenario.name, scenario.title);
    return 0;
  }
  const std::vector<Job> jobs = make_jobs(options, std::move(*scenarios));
  const bool is_engine = options.driver == "engine";
  const std::string reason =
      is_engine ? EngineDriver::why_unavailable() : KernelDriver::why_unavailable();
  if (!reason.empty()) {
    fmt::print("the {} can't be tested here: {}\n0 passed, 0 failed, {} skipped\n", options.driver,
               reason, jobs.size());
    return 0;
  }
  const Tally tally = play_all(jobs, options.jobs, is_engine);
  fmt::print("{} passed, {} failed\n", tally.passed, tally.failed);
  return tally.failed == 0 && tally.passed != 0 ? 0 : 1;
}

}  // namespace
}  // namespace weir::test

int main(int count, char** words) {
  weir::test::Options options;
  if (count == 2 && std::string_view(words[1]) == "--help") {
    fmt::print("{}", weir::test::kHelp);
    return 0;
  }
  if (!weir::test::read_options(options, count, words)) {
    fmt::print(stderr, "{}", weir::test::kHelp);
    return 2;
  }
  return weir::test::run(options);
}
