#include "daemon/run.h"

#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>

#include <CLI/CLI.hpp>
#include <optional>

#include "base/exit_code.h"
#include "base/file_descriptor.h"
#include "daemon/explain_ports.h"
#include "daemon/gateway.h"
#include "daemon/handover.h"
#include "daemon/log.h"
#include "daemon/separation.h"
#include "daemon/settings.h"

namespace weir::daemon {
namespace {

constexpr const char* kFooter =
    "Examples:\n"
    "  weir run --port lan=eth1 --port wan=eth0 --rules gateway.nft\n"
    "  weir run --config /etc/weir/weir.toml\n"
    "  weir run --config /etc/weir/weir.toml --explain-ports\n\n"
    "While it runs, the devices' IP packets are weir's; addresses, routes and neighbours stay the\n"
    "kernel's. Nothing is forwarded before rules are loaded. SIGTERM or Ctrl-C ends it and gives "
    "the\n"
    "devices back. Exit codes: 0 done, 1 refused, 2 wrong usage.";

int refuse(const Error& error, int code) {
  fmt::print(stderr, "weir run: {}\n", error.text);
  return code;
}

/// The command line over the configuration file over the defaults.
struct CommandLine {
  std::string config;
  std::vector<std::string> ports;
  std::string driver;
  std::string tx;
  bool explains_ports = false;
  std::string rules;
  std::string socket;
  std::uint16_t workers = 0;
  std::string log_level;
  std::string user;
  std::string state;
  std::string fail_policy;
  bool replaces = false;

  Result<Settings> settings() const {
    Settings settings;
    if (!config.empty()) {
      if (auto read = read_config(config, settings); !read) return std::unexpected(read.error());
    }
    return over(std::move(settings));
  }

  /// The same with the file's text.
  Result<Settings> settings(const std::string& text) const {
    Settings settings;
    if (auto read = parse_config(text, config, settings); !read)
      return std::unexpected(read.error());
    return over(std::move(settings));
  }

  Result<Settings> over(Settings settings) const {
    if (!ports.empty()) settings.ports.clear();
    for (const std::string& text : ports) {
      auto port = parse_port(text);
      if (!port) return std::unexpected(port.error());
      settings.ports.push_back(std::move(*port));
    }
    for (PortSettings& port : settings.ports) {
      if (!driver.empty()) port.driver = driver;
      if (!tx.empty()) port.tx = tx;
    }
    if (!rules.empty()) settings.rules = rules;
    if (!socket.empty()) settings.socket = socket;
    if (workers != 0) settings.workers = workers;
    if (!log_level.empty()) settings.log_level = log_level;
    if (!user.empty()) settings.user = user;
    if (!state.empty()) settings.state = state;
    if (!fail_policy.empty())
      settings.fail_policy = fail_policy == "open" ? FailPolicy::open : FailPolicy::closed;
    if (replaces && !rules.empty())
      return std::unexpected(Error{EINVAL, "--replace takes over the rules of the running engine: "
                                           "give --rules without it, or load them afterwards"});
    if (settings.ports.empty() && config.empty())
      return std::unexpected(
          Error{EINVAL, "no ports: give at least one --port NAME=DEVICE, or a --config file"});
    if (auto checked = check(settings); !checked) return std::unexpected(checked.error());
    return settings;
  }
};

void add_options(CLI::App& app, CommandLine& line) {
  app.add_option("--port", line.ports,
                 "a port: its name in weir and its network device; once for each")
      ->type_name("NAME=DEVICE");
  app.add_option("--port-driver", line.driver,
                 "how ports are read: auto, af_packet or af_xdp (default: auto)");
  app.add_option("--port-tx", line.tx,
                 "how ports of AF_XDP send: auto, sendto or live (default: auto)");
  app.add_flag("--explain-ports", line.explains_ports,
               "print how each port would be run, and why, and end");
  app.add_option("--rules", line.rules, "the ruleset, a file for nft -f")->type_name("FILE");
  app.add_option("--config", line.config, "a configuration file; the command line wins over it")
      ->type_name("FILE.toml");
  app.add_option("--socket", line.socket,
                 "where tools reach the engine (default: /run/weir/weir.sock)")
      ->type_name("PATH");
  app.add_option("--workers", line.workers, "threads that forward packets (default: 1)")
      ->check(CLI::Range(1, 64));
  app.add_option("--log-level", line.log_level,
                 "trace, debug, info, warn, err or off (default: info)");
  app.add_option("--user", line.user,
                 "whom the engine runs as (default: weir where that user exists, else nobody)");
  app.add_option("--state", line.state,
                 "the folder of what survives a restart (default: /run/weir)")
      ->type_name("FOLDER");
  app.add_option("--fail-policy", line.fail_policy,
                 "whether the ports are closed or open while no engine runs (default: closed)")
      ->check(CLI::IsMember({"closed", "open"}));
  app.add_flag("--replace", line.replaces,
               "take the place of the engine that runs on the same state folder: its connections, "
               "rules and tools go on");
  app.footer(kFooter);
}

/// SIGTERM, SIGINT and SIGHUP as a readable descriptor; blocked in every thread that starts later.
FileDescriptor signals_for_us() {
  sigset_t ours;
  sigemptyset(&ours);
  for (const int each : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&ours, each);
  sigprocmask(SIG_BLOCK, &ours, nullptr);
  signal(SIGPIPE, SIG_IGN);
  return FileDescriptor(signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK));
}

int run(const Settings& settings, const CommandLine& line) {
  const FileDescriptor signals = signals_for_us();
  Surroundings surroundings{.manager = ServiceManager::from_environment(),
                            .listener = inherited_listener(),
                            .reread = {}};
  if (surroundings.listener.is_open() && path_of(surroundings.listener) != settings.socket)
    return refuse({EINVAL, fmt::format("the service manager listens at {}, but socket is {}",
                                       path_of(surroundings.listener), settings.socket)},
                  kRefused);
  if (!line.config.empty())
    surroundings.reread = [line](const std::string& text) { return line.settings(text); };
  std::optional<Takeover> takeover;
  if (line.replaces) {
    auto begun = Takeover::begin(settings.state);
    if (!begun) return refuse(begun.error(), kRefused);
    takeover = std::move(*begun);
  }
  const auto parts = Separation::start(
      {.settings = settings,
                                        .reread = [line] { return line.settings(); },
                                        .config = line.config,
                                        .takes_over = line.replaces});
  if (!parts) return refuse(parts.error(), kRefused);
  auto gateway = Gateway::open(settings, *parts, std::move(surroundings), std::move(takeover));
  if (!gateway) return refuse(gateway.error(), kRefused);
  if (auto loaded = (*gateway)->load_rules(); !loaded) return refuse(loaded.error(), kRefused);
  if (auto ran = (*gateway)->run(signals.get()); !ran) return refuse(ran.error(), kRefused);
  return kDone;
}

}  // namespace

int run_main(int argc, char** argv) {
  CLI::App app(
      "Forwards packets between network ports: connection tracking, NAT and nf_tables rules in "
      "user space.",
      "weir run");
  CommandLine line;
  add_options(app, line);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kWrongUsage;
  }
  const auto settings = line.settings();
  if (!settings) return refuse(settings.error(), kWrongUsage);
  set_up_log(settings->log_level);
  if (line.explains_ports) return explain_ports(settings->ports);
  return run(*settings, line);
}

}  // namespace weir::daemon
