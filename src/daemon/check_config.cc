#include "daemon/check_config.h"

#include <fmt/format.h>
#include <grp.h>
#include <net/if.h>
#include <pwd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <sstream>
#include <string_view>

#include "base/clock.h"
#include "base/exit_code.h"
#include "base/temporary_folder.h"
#include "daemon/settings.h"
#include "daemon/settings_keys.h"
#include "engine/control_plane.h"
#include "engine/engine.h"
#include "engine/rules_loader.h"

namespace weir::daemon {
namespace {

constexpr Duration kServeWait = std::chrono::milliseconds(5);

void add_lines(const std::string& text, std::vector<std::string>& to) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) to.push_back(line);
}

/// "user:NAME" or "group:NAME".
bool exists(const std::string& principal) {
  const std::size_t colon = principal.find(':');
  const std::string name = principal.substr(colon + 1);
  return principal.starts_with("user:") ? getpwnam(name.c_str()) != nullptr
                                        : getgrnam(name.c_str()) != nullptr;
}

void check_host(const std::string& file, const Settings& settings, ConfigReport& report) {
  for (const PortSettings& port : settings.ports) {
    if (if_nametoindex(port.device.c_str()) == 0)
      report.problems.push_back(
          fmt::format("{}: port {}: there is no device {}; `ip link` lists them", port.where,
                      port.name, port.device));
  }
  if (!settings.user.empty() && getpwnam(settings.user.c_str()) == nullptr)
    report.problems.push_back(fmt::format("{}: user: there is no user {}", file, settings.user));
  for (const auto* list : {&settings.readers, &settings.changers}) {
    for (const std::string& principal : *list) {
      if (!exists(principal))
        report.problems.push_back(fmt::format("{}: access: there is no {}", file, principal));
    }
  }
}

Result<void> load_in_memory(const std::string& rules) {
  auto engine = engine::Engine::create({}, boot_time());
  if (!engine) return std::unexpected(engine.error());
  auto folder = TemporaryFolder::make("check");
  if (!folder) return std::unexpected(folder.error());
  const std::string socket = folder->file("weir.sock");
  auto control = engine::ControlPlane::open(
      **engine, {.socket_path = socket, .socket_file = {.mode = 0600}}, boot_time);
  if (!control) return std::unexpected(control.error());
  return engine::load_rules(socket, rules, [&] { (*control)->serve_once(kServeWait); });
}

void check_rules(const std::string& rules, ConfigReport& report) {
  if (rules.empty()) {
    report.notes.push_back("no rules: nothing passes until a tool loads some");
    return;
  }
  const auto loaded = load_in_memory(rules);
  if (loaded) {
    report.notes.push_back("rules: " + rules);
  } else if (loaded.error().code == ENOENT && loaded.error().text.starts_with("nft ")) {
    report.notes.push_back("rules: " + rules + ", not checked: " + loaded.error().text);
  } else {
    add_lines(loaded.error().text, report.problems);
  }
}

void note_settings(const Settings& settings, ConfigReport& report) {
  if (settings.ports.empty()) report.notes.push_back("no ports: no packet is touched");
  for (const PortSettings& port : settings.ports)
    report.notes.push_back(
        fmt::format("port {}: device {}, driver {}", port.name, port.device, port.driver));
  for (const auto& key : setting_keys()) {
    const std::string value = key.show(settings);
    if (value != key.show(Settings{}) && key.name != "rules")
      report.notes.push_back(fmt::format("{} = {}", key.name, value));
  }
  for (const SysctlSetting& sysctl : settings.sysctls)
    report.notes.push_back(fmt::format("{} = {}", sysctl.name, sysctl.value));
}

}  // namespace

ConfigReport check_config(const std::string& file, bool with_host) {
  ConfigReport report;
  Settings settings;
  if (const auto read = read_config(file, settings); !read) {
    add_lines(read.error().text, report.problems);
    return report;
  }
  if (const auto good = check(settings); !good) add_lines(good.error().text, report.problems);
  if (with_host) check_host(file, settings, report);
  note_settings(settings, report);
  check_rules(settings.rules, report);
  return report;
}

int check_config_main(int argc, char** argv) {
  CLI::App app(
      "Checks a configuration file as `weir run` would read it: keys and values, the devices, users "
      "and groups that it names, and its rules, which nft loads into an engine in memory. Prints "
      "all problems at once, or a summary.",
      "weir check-config");
  std::string file = "/etc/weir/weir.toml";
  bool without_host = false;
  app.add_option("file", file, "the configuration (default: /etc/weir/weir.toml)")
      ->type_name("FILE");
  app.add_flag("--no-host", without_host,
               "leave out what depends on this host: devices, users and groups");
  app.footer("Example:\n  weir check-config /etc/weir/weir.toml && systemctl reload weir");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kWrongUsage;
  }
  const ConfigReport report = check_config(file, !without_host);
  for (const std::string& problem : report.problems) fmt::print(stderr, "{}\n", problem);
  if (!report.problems.empty()) return kRefused;
  fmt::print("{}: good\n", file);
  for (const std::string& note : report.notes) fmt::print("  {}\n", note);
  return kDone;
}

}  // namespace weir::daemon
