// Who fills the table: entries counted by one of their fields, greatest first.
#include <fmt/format.h>
#include <linux/netfilter/nf_conntrack_common.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <vector>

#include "tools/conntrack/commands.h"
#include "tools/conntrack/names.h"

namespace weir::tools::conntrack {
namespace {

struct Group {
  Count entries = 0;
  Count assured = 0;
  Count unreplied = 0;
  std::uint64_t bytes = 0;
};

std::string_view name_of(GroupBy by) {
  switch (by) {
    case GroupBy::src:
      return "src";
    case GroupBy::dst:
      return "dst";
    case GroupBy::port:
      return "port";
    case GroupBy::zone:
      return "zone";
    case GroupBy::none:
      break;
  }
  return "";
}

std::string key_of(const Flow& flow, GroupBy by) {
  const End& end = flow.original;
  switch (by) {
    case GroupBy::src:
      return end.src ? end.src->text() : "-";
    case GroupBy::dst:
      return end.dst ? end.dst->text() : "-";
    case GroupBy::port: {
      const auto protocol = end.protocol.value_or(0);
      const std::string name = protocol_name(protocol) == "unknown"
                                   ? fmt::to_string(protocol)
                                   : std::string(protocol_name(protocol));
      return end.dst_port ? fmt::format("{}/{}", name, *end.dst_port) : name;
    }
    case GroupBy::zone:
      return fmt::to_string(flow.zone.value_or(0));
    case GroupBy::none:
      break;
  }
  return {};
}

using Groups = std::unordered_map<std::string, Group>;

void add(Groups& groups, const Flow& flow, GroupBy by) {
  Group& group = groups[key_of(flow, by)];
  ++group.entries;
  const std::uint32_t status = flow.status.value_or(0);
  group.assured += (status & IPS_ASSURED) != 0;
  group.unreplied += (status & IPS_SEEN_REPLY) == 0;
  group.bytes += flow.original_counters.value_or(Counters{}).bytes +
                 flow.reply_counters.value_or(Counters{}).bytes;
}

void print(const std::vector<std::pair<std::string, Group>>& groups, const Request& request,
           Count all) {
  if (request.format.form == Form::json) {
    for (const auto& [key, group] : groups) {
      const nlohmann::ordered_json line = {{std::string(name_of(request.group_by)), key},
                                           {"entries", group.entries},
                                           {"assured", group.assured},
                                           {"unreplied", group.unreplied},
                                           {"bytes", group.bytes}};
      fmt::print("{}\n", line.dump());
    }
    return;
  }
  fmt::print("{:<40} {:>10} {:>6} {:>10} {:>10} {:>16}\n", name_of(request.group_by), "entries",
             "share", "assured", "unreplied", "bytes");
  for (const auto& [key, group] : groups) {
    fmt::print("{:<40} {:>10} {:>5.1f}% {:>10} {:>10} {:>16}\n", key, group.entries,
               100.0 * static_cast<double>(group.entries) / static_cast<double>(all), group.assured,
               group.unreplied, group.bytes);
  }
}

}  // namespace

Result<Count> show_groups(const Request& request, NetlinkSocket& socket) {
  Groups found;
  Count all = 0;
  auto done = dump_table(request, socket, [&](const netlink::Message& message) {
    const Flow flow = read_flow(message);
    if (!matches(request, flow)) return;
    add(found, flow, request.group_by);
    ++all;
  });
  if (!done) return std::unexpected(done.error());

  std::vector<std::pair<std::string, Group>> groups(found.begin(), found.end());
  std::sort(groups.begin(), groups.end(), [](const auto& a, const auto& b) {
    return a.second.entries != b.second.entries ? a.second.entries > b.second.entries
                                                : a.first < b.first;
  });
  if (groups.size() > request.shown_groups) groups.resize(request.shown_groups);
  print(groups, request, all);
  return all;
}

}  // namespace weir::tools::conntrack
