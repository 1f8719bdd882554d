#include "tools/stats.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/exit_code.h"
#include "netlink/attributes.h"
#include "netlink/weir.h"
#include "tools/engine_process.h"
#include "tools/netlink_socket.h"

namespace weir::tools {
namespace {

namespace own = netlink::own;

struct Stat {
  std::string name;
  std::uint64_t value;
};

constexpr netlink::Rule kStatRules[] = {
    {.type = own::kStatName, .kind = netlink::Kind::string, .required = true},
    {.type = own::kStatValue, .kind = netlink::Kind::u64, .required = true},
};

Result<std::vector<Stat>> fetch() {
  auto socket = NetlinkSocket::open();
  if (!socket) return std::unexpected(socket.error());
  std::vector<Stat> stats;
  auto read = [&stats](const netlink::Message& message) {
    for (const netlink::Attribute& nest : message.attributes()) {
      const auto stat = netlink::Attributes::parse(nest.nested(), kStatRules);
      if (stat)
        stats.push_back(
            {std::string(stat->string(own::kStatName)), stat->be64(own::kStatValue).host()});
    }
  };
  if (auto done = socket->dump(own::kSubsystem, own::kGetStats, read); !done)
    return std::unexpected(done.error());
  return stats;
}

/// Everything under its dotted name: "drop.rule" becomes {"drop": {"rule": …}}.
void print_json(const std::vector<Stat>& stats) {
  nlohmann::ordered_json root = nlohmann::ordered_json::object();
  for (const Stat& stat : stats) {
    std::string pointer = "/" + stat.name;
    for (char& c : pointer) c = c == '.' ? '/' : c;
    root[nlohmann::ordered_json::json_pointer(pointer)] = stat.value;
  }
  fmt::print("{}\n", root.dump(2));
}

/// A block for each first word. Drop reasons that never happened are left out unless asked for.
void print_text(const std::vector<Stat>& stats, bool with_zeroes) {
  std::string block;
  for (const Stat& stat : stats) {
    if (stat.value == 0 && !with_zeroes && stat.name.starts_with("drop.")) continue;
    const std::size_t dot = stat.name.find('.');
    if (stat.name.substr(0, dot) != block) {
      block = stat.name.substr(0, dot);
      fmt::print("{}\n", block);
    }
    fmt::print("  {:<40} {:>14}\n",
               dot == std::string::npos ? stat.name : stat.name.substr(dot + 1), stat.value);
  }
}

}  // namespace

int stats_main(int argc, char** argv) {
  CLI::App app(
      "Shows the engine's counters: packets by port and verdict, drops by reason, connections, "
      "memory.",
      "weir stats");
  std::string socket_path;
  bool as_json = false;
  bool with_zeroes = false;
  app.add_option("--socket", socket_path, "the engine's socket (default: /run/weir/weir.sock)");
  app.add_flag("--json", as_json, "one JSON object instead of a table");
  app.add_flag("--all", with_zeroes, "also the drop reasons that have never happened");
  app.footer("Example:\n  weir stats --json | jq .conntrack");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kWrongUsage;
  }

  if (!is_under_preload()) return run_under_preload("stats", socket_path, argc, argv);
  const auto stats = fetch();
  if (!stats) {
    fmt::print(stderr, "weir stats: {}\n", stats.error().text);
    return kRefused;
  }
  if (as_json) {
    print_json(*stats);
  } else {
    print_text(*stats, with_zeroes);
  }
  return kDone;
}

}  // namespace weir::tools
