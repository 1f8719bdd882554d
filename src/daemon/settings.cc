#include "daemon/settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <fstream>
#include <set>
#include <sstream>
#include <string_view>

#include "pipeline/counters.h"

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

namespace weir::daemon {
namespace {

std::unexpected<Error> invalid(std::string text) {
  return std::unexpected(Error{EINVAL, std::move(text)});
}

/// One table of the file: checks each key and its type, and names what is known when it isn't.
class Section {
 public:
  Section(const toml::table& table, std::string name) : table_(table), name_(std::move(name)) {}

  template <typename T>
  Section& value(const char* key, T& to) {
    known_.push_back(key);
    const toml::node* const node = table_.get(key);
    if (node == nullptr || !error_.empty()) return *this;
    if (const auto read = node->value_exact<Stored<T>>(); read && fits<T>(*read)) {
      to = static_cast<T>(*read);
    } else {
      error_ = fmt::format("line {}: {}{} must be {}", node->source().begin.line, name_, key,
                           type_name<T>());
    }
    return *this;
  }

  Section& strings(const char* key, std::vector<std::string>& to) {
    known_.push_back(key);
    const toml::node* const node = table_.get(key);
    if (node == nullptr || !error_.empty()) return *this;
    const toml::array* const list = node->as_array();
    if (list == nullptr || (!list->empty() && !list->is_homogeneous(toml::node_type::string))) {
      error_ = fmt::format("line {}: {}{} must be a list of strings", node->source().begin.line,
                           name_, key);
      return *this;
    }
    to.clear();
    for (const toml::node& each : *list) to.push_back(*each.value_exact<std::string>());
    return *this;
  }

  /// A table inside this one, read by `read`.
  template <typename Read>
  Section& table(const char* key, Read&& read) {
    known_.push_back(key);
    const toml::node* const node = table_.get(key);
    if (node == nullptr || !error_.empty()) return *this;
    if (const toml::table* const inner = node->as_table()) {
      if (const auto done = read(*inner); !done) error_ = done.error().text;
    } else {
      error_ = fmt::format("line {}: {}{} must be a table", node->source().begin.line, name_, key);
    }
    return *this;
  }

  Result<void> done() {
    for (const auto& [key, node] : table_) {
      if (error_.empty() && std::find(known_.begin(), known_.end(), key.str()) == known_.end()) {
        error_ = fmt::format("line {}: unknown key {}{}; known are {}", node.source().begin.line,
                             name_, key.str(), fmt::join(known_, ", "));
      }
    }
    if (!error_.empty()) return invalid(error_);
    return {};
  }

 private:
  template <typename T>
  using Stored = std::conditional_t<std::is_integral_v<T>, std::int64_t, T>;

  template <typename T, typename S>
  static bool fits(const S& stored) {
    if constexpr (std::is_integral_v<T>) {
      return stored > 0 && static_cast<std::uint64_t>(stored) <= std::numeric_limits<T>::max();
    }
    return true;
  }
  template <typename T>
  static std::string type_name() {
    if constexpr (std::is_integral_v<T>) {
      return fmt::format("a number from 1 to {}", std::numeric_limits<T>::max());
    } else {
      return "a string";
    }
  }

  const toml::table& table_;
  std::string name_;
  std::vector<std::string> known_;
  std::string error_;
};

Result<void> read_ports(const toml::table& ports, Settings& settings) {
  settings.ports.clear();
  for (const auto& [name, node] : ports) {
    const toml::table* const table = node.as_table();
    if (table == nullptr) {
      return invalid(
          fmt::format("line {}: ports.{} must be a table, e.g. [ports.{}] device = \"eth1\"",
                      node.source().begin.line, name.str(), name.str()));
    }
    PortSettings port;
    port.name = name.str();
    Section section(*table, fmt::format("ports.{}.", port.name));
    if (auto read = section.value("device", port.device).value("driver", port.driver).done(); !read)
      return read;
    settings.ports.push_back(std::move(port));
  }
  return {};
}

/// toml++ 3.3 takes for granted what it should check of two things, and what it then does is
/// undefined: the character that a table's name begins with, and letters beyond ASCII where it
/// expects a key or a value.
Result<void> check_line(std::string_view line, std::size_t number) {
  constexpr std::string_view kNameBegins =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-\"']";
  const std::size_t begin = line.find_first_not_of(" \t");
  if (begin != std::string_view::npos && line[begin] == '[') {
    std::size_t name = line.find_first_not_of(" \t", begin + 1);
    if (name != std::string_view::npos && line[name] == '[')
      name = line.find_first_not_of(" \t", name + 1);
    if (name == std::string_view::npos || kNameBegins.find(line[name]) == std::string_view::npos) {
      return invalid(fmt::format("line {}: the name of a table in brackets is missing", number));
    }
  }
  char quote = 0;
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (quote == 0 && c == '#') break;
    if (quote == 0 && static_cast<unsigned char>(c) >= 0x80) {
      return invalid(
          fmt::format("line {}: characters beyond ASCII belong into quotes or a comment", number));
    }
    if (quote == '"' && c == '\\') {
      ++i;
    } else if (c == quote) {
      quote = 0;
    } else if (quote == 0 && (c == '"' || c == '\'')) {
      quote = c;
    }
  }
  return {};
}

Result<void> check_lines(const std::string& path) {
  std::ifstream file(path);  // That it can't be read, toml++ says.
  std::size_t number = 0;
  for (std::string line; std::getline(file, line);) {
    if (auto good = check_line(line, ++number); !good)
      return invalid(path + ": " + good.error().text);
  }
  return {};
}

}  // namespace

Result<void> read_config(const std::string& path, Settings& settings) {
  if (auto good = check_lines(path); !good) return good;
  const toml::parse_result parsed = toml::parse_file(path);
  if (!parsed) {
    std::ostringstream text;
    text << path << ": " << parsed.error().description() << " at line "
         << parsed.error().source().begin.line;
    return invalid(text.str());
  }
  Section root(parsed.table(), "");
  root.value("workers", settings.workers)
      .value("rules", settings.rules)
      .value("socket", settings.socket)
      .table("ports", [&](const toml::table& ports) { return read_ports(ports, settings); })
      .table("conntrack",
             [&](const toml::table& table) {
               return Section(table, "conntrack.").value("max", settings.conntrack_max).done();
             })
      .table("log",
             [&](const toml::table& table) {
               return Section(table, "log.").value("level", settings.log_level).done();
             })
      .table("access", [&](const toml::table& table) {
        return Section(table, "access.")
            .strings("readers", settings.readers)
            .strings("changers", settings.changers)
            .done();
      });
  if (auto read = root.done(); !read) return invalid(path + ": " + read.error().text);
  return {};
}

Result<PortSettings> parse_port(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == std::string::npos || equals == 0 || equals + 1 == text.size()) {
    return invalid(fmt::format("--port {}: expected NAME=DEVICE, e.g. lan=eth1", text));
  }
  PortSettings port;
  port.name = text.substr(0, equals);
  port.device = text.substr(equals + 1);
  return port;
}

Result<void> check(const Settings& settings) {
  if (settings.ports.empty())
    return invalid(
        "no ports: give at least one --port NAME=DEVICE, or [ports.NAME] in the configuration");
  if (settings.workers == 0 || settings.workers > kMaxWorkers) {
    return invalid(fmt::format("workers must be 1 to {}", kMaxWorkers));
  }
  if (settings.ports.size() > pipeline::kMaxPorts)
    return invalid(fmt::format("at most {} ports", pipeline::kMaxPorts));
  std::set<std::string> names, devices;
  for (const PortSettings& port : settings.ports) {
    if (!names.insert(port.name).second)
      return invalid(fmt::format("port {} is given twice", port.name));
    if (port.device.empty()) return invalid(fmt::format("port {} has no device", port.name));
    if (!devices.insert(port.device).second)
      return invalid(fmt::format("device {} is in two ports", port.device));
    if (port.name.find('.') != std::string::npos)
      return invalid(fmt::format("port name {} must not contain a dot", port.name));
    if (std::find(kDrivers.begin(), kDrivers.end(), port.driver) == kDrivers.end()) {
      return invalid(fmt::format("port {}: there is no driver {}; known are {}", port.name,
                                 port.driver, fmt::join(kDrivers, ", ")));
    }
  }
  return {};
}

}  // namespace weir::daemon
