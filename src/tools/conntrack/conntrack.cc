#include "tools/conntrack/conntrack.h"

#include <fmt/core.h>

#include <cerrno>
#include <string>
#include <string_view>

#include "base/exit_code.h"
#include "tools/conntrack/commands.h"
#include "tools/engine_process.h"
#include "version.h"

namespace weir::tools {
namespace {

using conntrack::Command;
using conntrack::Request;
using conntrack::Table;

/// What decides which netfilter answers, before anything else is read.
struct Target {
  bool is_kernel = false;
  std::string socket_path;
};

Target find_target(int argc, char** argv) {
  Target target;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (word == "--kernel") target.is_kernel = true;
    if (word.starts_with("--socket=")) target.socket_path = word.substr(9);
    if (word == "--socket" && i + 1 < argc) target.socket_path = argv[i + 1];
  }
  return target;
}

int fail(const std::string& what) {
  fmt::print(stderr, "weir conntrack: {}\n", what);
  return kRefused;
}

std::string_view done_word(const Request& request) {
  switch (request.command) {
    case Command::list:
    case Command::get:
      return "shown";
    case Command::remove:
      return "deleted";
    case Command::insert:
      return "created";
    case Command::add:
      return "added";
    case Command::update:
      return "updated";
    default:
      return "";
  }
}

/// The closing line, on standard error as conntrack(8) does. Nothing found is a failure of commands
/// that name entries.
int report(const Request& request, conntrack::Count count) {
  const bool of_expectations = request.table == Table::expect;
  if (request.command == Command::flush) {
    fmt::print(stderr, "weir conntrack: the table of {} has been emptied.\n",
               of_expectations ? "expectations" : "connections");
    return kDone;
  }
  const std::string_view word = done_word(request);
  if (word.empty()) return kDone;
  fmt::print(stderr, "weir conntrack: {} {} have been {}.\n", count,
             of_expectations ? "expectations" : "flow entries", word);
  const bool may_find_none = request.command == Command::list || request.command == Command::add;
  return count == 0 && !may_find_none ? kRefused : kDone;
}

int run(const Request& request) {
  auto socket = NetlinkSocket::open();
  if (!socket) return fail(explain(socket.error(), request));
  switch (request.command) {
    case Command::events: {
      const auto shown = show_events(request, *socket);
      if (!shown) return fail(explain(shown.error(), request));
      fmt::print(stderr, "weir conntrack: {} events have been shown.\n", *shown);
      return kDone;
    }
    case Command::top: {
      const auto shown = show_top(request, *socket);
      return shown ? kDone : fail(explain(shown.error(), request));
    }
    case Command::restore: {
      const auto restored = conntrack::restore(request.file, *socket);
      return restored ? kDone : fail(restored.error().text);
    }
    default: {
      const auto done = conntrack::run(request, *socket);
      if (!done) return fail(explain(done.error(), request));
      return report(request, *done);
    }
  }
}

}  // namespace

int conntrack_main(int argc, char** argv) {
  const auto request = conntrack::parse_request(argc, argv);
  if (!request) {
    fmt::print(stderr, "weir conntrack: {}\nTry `weir conntrack --help`.\n", request.error().text);
    return kWrongUsage;
  }
  if (request->command == Command::help) {
    fmt::print("{}", conntrack::usage());
    return kDone;
  }
  if (request->command == Command::version) {
    fmt::print("weir conntrack {}\n", kVersion);
    return kDone;
  }
  const Target target = find_target(argc, argv);
  if (target.is_kernel && is_under_preload())
    return fail("--kernel can't reach the kernel from under weir exec");
  if (!target.is_kernel && !is_under_preload())
    return run_under_preload("conntrack", target.socket_path, argc, argv);
  return run(*request);
}

}  // namespace weir::tools
