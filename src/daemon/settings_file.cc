// The configuration file's syntax is toml++'s business, its meaning the table's in settings_keys.cc.
// All problems are found in one go, each with its line.
//
// toml++ 3.3 takes for granted, in a few places, what it should check of its input, and what it
// then does is undefined where assertions are off and an abort where they are on. Here its
// assertions are always on and throw: a malformed file is an error like any other. No other file
// may include toml++, since its functions are inline and would be taken from either.
#include <sys/stat.h>

#include <algorithm>
#include <exception>
#include <fstream>
#include <map>

#include "conntrack/sysctl.h"
#include "daemon/settings.h"
#include "daemon/settings_keys.h"

#undef NDEBUG
namespace weir::daemon {
namespace {
struct Malformed : std::exception {};
[[noreturn]] void throw_malformed() { throw Malformed(); }
}  // namespace
}  // namespace weir::daemon
#define TOML_ASSERT(condition) ((condition) ? void() : weir::daemon::throw_malformed())
#define TOML_EXCEPTIONS 1
#include <fmt/format.h>
#include <toml++/toml.h>

namespace weir::daemon {
namespace {

constexpr std::size_t kLongestFile = 1 << 20;  // Bytes.

std::size_t line_of(const toml::node& node) { return node.source().begin.line; }

Value value_of(const toml::node& node) {
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return number->get();
  if (const auto* flag = node.as_boolean()) return flag->get();
  const toml::array* const list = node.as_array();
  if (list == nullptr) return {};
  std::vector<std::string> texts;
  for (const toml::node& each : *list) {
    const auto* const text = each.as_string();
    if (text == nullptr) return {};
    texts.push_back(text->get());
  }
  return texts;
}

/// The members of a table in the order of the file.
std::vector<std::pair<std::string, const toml::node*>> in_order(const toml::table& table) {
  std::vector<std::pair<std::string, const toml::node*>> members;
  for (const auto& [key, node] : table) members.emplace_back(std::string(key.str()), &node);
  std::stable_sort(members.begin(), members.end(), [](const auto& a, const auto& b) {
    return a.second->source().begin < b.second->source().begin;
  });
  return members;
}

class Reader {
 public:
  Reader(std::string file, Settings& settings) : file_(std::move(file)), settings_(settings) {}

  void read(const toml::table& root) { read_section(root, ""); }
  void problem(std::size_t line, const std::string& text) {
    problems_.emplace(line, fmt::format("{}:{}: {}", file_, line, text));
  }

  Result<void> done() const {
    if (problems_.empty()) return {};
    std::vector<std::string_view> lines;
    for (const auto& [line, text] : problems_) lines.push_back(text);
    return std::unexpected(Error{EINVAL, fmt::format("{}", fmt::join(lines, "\n"))});
  }

 private:
  /// `prefix` is "" or "log."
  void read_section(const toml::table& section, const std::string& prefix) {
    for (const auto& [name, node] : in_order(section)) {
      const std::string full = prefix + name;
      const auto keys = setting_keys();
      const auto key = std::find_if(keys.begin(), keys.end(),
                                    [&](const auto& each) { return each.name == full; });
      if (full == "ports") {
        if (const toml::table* const ports = table_of(*node, full)) read_ports(*ports);
      } else if (full == "sysctl") {
        if (const toml::table* const sysctls = table_of(*node, full)) read_sysctls(*sysctls, "");
      } else if (key != keys.end()) {
        set(*key, settings_, *node, full);
      } else if (is_section(full)) {
        if (const toml::table* const inner = table_of(*node, full)) read_section(*inner, full + ".");
      } else {
        unknown(*node, full, name, members_of(prefix));
      }
    }
  }

  void read_ports(const toml::table& ports) {
    settings_.ports.clear();
    for (const auto& [name, node] : in_order(ports)) {
      const std::string full = "ports." + name;
      const toml::table* const members = table_of(*node, full);
      if (members == nullptr) continue;
      PortSettings port;
      port.name = name;
      port.where = fmt::format("{}:{}", file_, line_of(*node));
      read_port(*members, port, full);
      if (members->get("device") == nullptr)
        problem(line_of(*node), full + " needs a device, e.g. device = \"eth1\"");
      settings_.ports.push_back(std::move(port));
    }
  }

  void read_port(const toml::table& members, PortSettings& port, const std::string& prefix) {
    const auto keys = port_keys();
    for (const auto& [name, node] : in_order(members)) {
      const std::string full = prefix + "." + name;
      const auto key = std::find_if(keys.begin(), keys.end(),
                                    [&](const auto& each) { return each.name == name; });
      if (key != keys.end()) {
        set(*key, port, *node, full);
      } else {
        std::vector<std::string_view> known;
        for (const auto& each : keys) known.push_back(each.name);
        unknown(*node, full, name, known);
      }
    }
  }

  /// Dotted names are tables within tables to TOML.
  void read_sysctls(const toml::table& sysctls, const std::string& prefix) {
    for (const auto& [name, node] : in_order(sysctls)) {
      const std::string full = prefix + name;
      if (const toml::table* const inner = node->as_table()) {
        read_sysctls(*inner, full + ".");
      } else {
        read_sysctl(*node, full);
      }
    }
  }

  void read_sysctl(const toml::node& node, const std::string& name) {
    const conntrack::SysctlName* const known = conntrack::find_sysctl(name);
    if (known == nullptr) return unknown_sysctl(node, name);
    if (known->is_read_only)
      return problem(line_of(node), fmt::format("sysctl.{} can only be read", name));
    const auto* const number = node.as_integer();
    if (number == nullptr || number->get() < known->least || number->get() > known->most) {
      return problem(line_of(node), fmt::format("sysctl.{} must be a number from {} to {}", name,
                                                known->least, known->most));
    }
    settings_.sysctls.push_back(
        {std::string(known->name), static_cast<std::uint64_t>(number->get())});
  }

  void unknown_sysctl(const toml::node& node, const std::string& name) {
    std::vector<std::string_view> names;
    for (const conntrack::SysctlName& each : conntrack::sysctl_names()) {
      // As the name was given: whole, or only its last part.
      names.push_back(name.find('.') == std::string::npos
                          ? each.name.substr(each.name.rfind('.') + 1)
                          : each.name);
    }
    const std::string_view meant = nearest(name, names);
    problem(line_of(node),
            meant.empty()
                ? fmt::format("there is no sysctl {}; docs/CONFIGURATION.md lists them", name)
                : fmt::format("there is no sysctl {}; did you mean {}?", name, meant));
  }

  template <typename T>
  void set(const Key<T>& key, T& to, const toml::node& node, const std::string& full) {
    if (!key.set(to, value_of(node)))
      problem(line_of(node), fmt::format("{} must be {}", full, key.expects));
  }

  const toml::table* table_of(const toml::node& node, const std::string& name) {
    const toml::table* const table = node.as_table();
    if (table == nullptr)
      problem(line_of(node), fmt::format("{} must be a table: [{}]", name, name));
    return table;
  }

  void unknown(const toml::node& node, const std::string& full, const std::string& name,
               const std::vector<std::string_view>& known) {
    problem(line_of(node), fmt::format("unknown key {}{}", full, suggestion(name, known)));
  }

  static bool is_section(const std::string& name) {
    const auto keys = setting_keys();
    return std::any_of(keys.begin(), keys.end(),
                       [&](const auto& key) { return key.name.starts_with(name + "."); });
  }

  /// What may stand in a section: "level" in "log.", "log" and "rules" in "".
  static std::vector<std::string_view> members_of(const std::string& prefix) {
    std::vector<std::string_view> members;
    if (prefix.empty()) members = {"ports", "sysctl"};
    for (const auto& key : setting_keys()) {
      if (!key.name.starts_with(prefix)) continue;
      const std::string_view rest = key.name.substr(prefix.size());
      const std::string_view member = rest.substr(0, rest.find('.'));
      if (std::find(members.begin(), members.end(), member) == members.end())
        members.push_back(member);
    }
    return members;
  }

  const std::string file_;
  Settings& settings_;
  std::multimap<std::size_t, std::string> problems_;  // By line.
};

bool is_malformed(std::string_view text) {
  try {
    const toml::table parsed = toml::parse(text);
    return false;
  } catch (const toml::parse_error&) {
    return false;
  } catch (const Malformed&) {
    return true;
  }
}

/// The line at which an assertion of toml++ fails: it reads from the beginning, so a text that ends
/// before that line doesn't trip it.
std::size_t malformed_line(std::string_view text) {
  std::vector<std::size_t> ends;  // Of each line.
  for (std::size_t at = 0; at != std::string_view::npos;) {
    at = text.find('\n', at);
    if (at != std::string_view::npos) ends.push_back(++at);
  }
  ends.push_back(text.size());
  const auto first = std::partition_point(ends.begin(), ends.end(), [&](std::size_t end) {
    return !is_malformed(text.substr(0, end));
  });
  return static_cast<std::size_t>(first - ends.begin()) + 1;
}

}  // namespace

Result<void> parse_config(std::string_view text, const std::string& name, Settings& settings) {
  Settings given = settings;
  Reader reader(name, given);
  try {
    reader.read(toml::parse(text));
  } catch (const toml::parse_error& error) {
    reader.problem(error.source().begin.line, std::string(error.description()));
  } catch (const Malformed&) {
    reader.problem(malformed_line(text), "a key, a value or a bracket is out of place or missing");
  }
  if (auto done = reader.done(); !done) return done;
  settings = std::move(given);
  return {};
}

Result<void> read_config(const std::string& path, Settings& settings) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::unexpected(system_error("configuration " + path));
  std::string text(kLongestFile + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (file.bad()) return std::unexpected(system_error("configuration " + path));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kLongestFile)
    return std::unexpected(Error{EFBIG, path + " is longer than a configuration can be"});
  return parse_config(text, path, settings);
}

}  // namespace weir::daemon
