#include "daemon/settings.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <net/if.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <map>

#include "daemon/settings_keys.h"
#include "pipeline/counters.h"

namespace weir::daemon {
namespace {

std::unexpected<Error> invalid(std::string text) {
  return std::unexpected(Error{EINVAL, std::move(text)});
}

void check_port(const PortSettings& port, std::vector<std::string>& problems) {
  const auto problem = [&](const std::string& text) {
    problems.push_back(fmt::format("{}: port {}: {}", port.where, port.name, text));
  };
  if (port.name.empty() || port.name.find_first_of(".=\" \\\t\n") != std::string::npos)
    problem("the name must not be empty or contain dots, quotes, backslashes, = or spaces");
  if (!port.device.empty() && port.device.size() >= IFNAMSIZ)
    problem(fmt::format("device {} is longer than {} letters", port.device, IFNAMSIZ - 1));
  if (std::find(kDrivers.begin(), kDrivers.end(), port.driver) == kDrivers.end())
    problem(fmt::format("there is no driver {}{}", port.driver, suggestion(port.driver, kDrivers)));
  if (std::find(kTransmits.begin(), kTransmits.end(), port.tx) == kTransmits.end())
    problem(fmt::format("there is no tx {}{}", port.tx, suggestion(port.tx, kTransmits)));
}

void check_ports(const std::vector<PortSettings>& ports, std::vector<std::string>& problems) {
  if (ports.size() > pipeline::kMaxPorts)
    problems.push_back(
        fmt::format("{} ports; there can be at most {}", ports.size(), pipeline::kMaxPorts));
  std::map<std::string, const PortSettings*> names, devices;
  for (const PortSettings& port : ports) {
    check_port(port, problems);
    const auto [same_name, is_new_name] = names.emplace(port.name, &port);
    if (!is_new_name)
      problems.push_back(fmt::format("{}: port {} is given twice, first by {}", port.where,
                                     port.name, same_name->second->where));
    const auto [same_device, is_new_device] = devices.emplace(port.device, &port);
    if (!is_new_device && is_new_name)
      problems.push_back(fmt::format("{}: device {} is in two ports, {} and {}", port.where,
                                     port.device, same_device->second->name, port.name));
  }
}

}  // namespace

Result<PortSettings> parse_port(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
    return invalid(fmt::format("--port {}: expected NAME=DEVICE, e.g. lan=eth1", text));
  }
  PortSettings port;
  port.name = text.substr(0, equals);
  port.device = text.substr(equals + 1);
  port.where = "--port";
  return port;
}

Result<ListenAddress> parse_listen(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  ListenAddress listen;
  bool is_good = colon != std::string::npos;
  if (is_good) {
    listen.address = text.substr(0, colon);
    const char* const end = text.data() + text.size();
    const auto [rest, error] = std::from_chars(text.data() + colon + 1, end, listen.port);
    is_good = error == std::errc{} && rest == end && listen.port != 0;
  }
  in6_addr raw{};
  if (is_good && listen.address.starts_with('[') && listen.address.ends_with(']')) {
    listen.address = listen.address.substr(1, listen.address.size() - 2);
    is_good = inet_pton(AF_INET6, listen.address.c_str(), &raw) == 1;
  } else if (is_good) {
    is_good = inet_pton(AF_INET, listen.address.c_str(), &raw) == 1;
  }
  if (!is_good)
    return invalid(fmt::format(
        "metrics.listen \"{}\" must be ADDRESS:PORT, e.g. \"127.0.0.1:9638\" or \"[::1]:9638\"",
        text));
  return listen;
}

Result<void> check(const Settings& settings) {
  std::vector<std::string> problems;
  check_ports(settings.ports, problems);
  if (settings.workers == 0 || settings.workers > kMaxWorkers)
    problems.push_back(fmt::format("workers must be 1 to {}", kMaxWorkers));
  if (settings.socket.empty() || settings.socket.size() >= sizeof(sockaddr_un::sun_path))
    problems.push_back(fmt::format("the socket's name must have 1 to {} letters: \"{}\"",
                                   sizeof(sockaddr_un::sun_path) - 1, settings.socket));
  if (settings.state.empty()) problems.push_back("state must name a folder");
  if (std::find(kLogLevels.begin(), kLogLevels.end(), settings.log_level) == kLogLevels.end())
    problems.push_back(fmt::format("there is no log level {}{}", settings.log_level,
                                   suggestion(settings.log_level, kLogLevels)));
  if (!settings.metrics_listen.empty()) {
    if (const auto listen = parse_listen(settings.metrics_listen); !listen)
      problems.push_back(listen.error().text);
  }
  if (problems.empty()) return {};
  return invalid(fmt::format("{}", fmt::join(problems, "\n")));
}

}  // namespace weir::daemon
