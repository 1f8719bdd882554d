#include <fmt/core.h>

#include <cstring>
#include <span>
#include <string_view>

#include "base/exit_code.h"
#include "bench/bench.h"
#include "daemon/check_config.h"
#include "daemon/cleanup.h"
#include "daemon/run.h"
#include "replay/replay.h"
#include "tools/conntrack/conntrack.h"
#include "tools/exec.h"
#include "tools/stats.h"
#include "tools/sysctl.h"
#include "version.h"

namespace {

struct Command {
  std::string_view name;
  std::string_view summary;
  int (*main)(int argc, char** argv);
};

constexpr Command kCommands[] = {
    {"run", "forward packets between network ports", weir::daemon::run_main},
    {"check-config", "find what is wrong with a configuration file",
     weir::daemon::check_config_main},
    {"cleanup", "give back to the host what a dead engine has left", weir::daemon::cleanup_main},
    {"exec", "run an unmodified netfilter tool against the engine", weir::tools::exec_main},
    {"conntrack", "show and change connections, of the engine or the kernel",
     weir::tools::conntrack_main},
    {"stats", "show the engine's counters", weir::tools::stats_main},
    {"sysctl", "show and change the engine's knobs", weir::tools::sysctl_main},
    {"replay", "send a capture through a ruleset, without root or network",
     weir::replay::replay_main},
    {"bench", "measure the engine in memory", weir::bench::bench_main},
};

void print_help() {
  fmt::print("weir {}: netfilter in user space\n\nUsage: weir COMMAND [OPTIONS]\n\nCommands:\n",
             weir::kVersion);
  for (const Command& command : kCommands)
    fmt::print("  {:<12} {}\n", command.name, command.summary);
  fmt::print(
      "\n`weir COMMAND --help` explains a command and its options.\n\n"
      "Examples:\n"
      "  weir run --port lan=eth1 --port wan=eth0 --rules gateway.nft\n"
      "  weir exec -- conntrack -L\n"
      "  weir exec -- nft list ruleset\n"
      "  weir replay --rules gateway.nft --inside 192.168.0.0/16 capture.pcap\n"
      "\nExit codes: 0 done, 1 the input or the engine refused, 2 wrong usage.\n");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    print_help();
    return weir::kWrongUsage;
  }
  const std::string_view name = argv[1];
  if (name == "--version") {
    fmt::print("weir {}\n", weir::kVersion);
    return weir::kDone;
  }
  if (name == "--help" || name == "-h" || name == "help") {
    print_help();
    return weir::kDone;
  }
  for (const Command& command : kCommands) {
    if (command.name == name) return command.main(argc - 1, argv + 1);
  }
  fmt::print(stderr, "weir: there is no command '{}'; `weir --help` lists them\n", name);
  return weir::kWrongUsage;
}
