#include "daemon/cleanup.h"

#include <bpf/libbpf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/stat.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>

#include "base/error.h"
#include "base/exit_code.h"
#include "base/file_descriptor.h"
#include "control/server/listener.h"
#include "daemon/settings.h"
#include "io/host_hooks.h"

namespace weir::daemon {
namespace {

constexpr const char* kFooter =
    "Examples:\n"
    "  weir cleanup --dry-run\n"
    "  weir cleanup --netns gateway\n\n"
    "An engine that was killed with fail_policy closed leaves its ports closed. `weir run` takes "
    "them\n"
    "again; this command gives them back to the kernel, which then has them unfiltered. What a "
    "running\n"
    "engine has, and connections and rules that the next one is to find, are left alone.\n"
    "Exit codes: 0 done, 1 refused, 2 wrong usage.";

int refuse(const Error& error) {
  fmt::print(stderr, "weir cleanup: {}\n", error.text);
  return kRefused;
}

Result<void> enter_namespace(const std::string& name) {
  const std::string path = name.find('/') == std::string::npos ? "/run/netns/" + name : name;
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.is_open()) return std::unexpected(system_error("network namespace " + path));
  if (setns(file.get(), CLONE_NEWNET) != 0)
    return std::unexpected(system_error("entering the network namespace " + path));
  return {};
}

/// How many things were there.
int clean_devices(bool is_dry) {
  int count = 0;
  for (const io::HookedDevice& found : io::find_hooked_devices()) {
    if (found.has_engine) {
      fmt::print("device {}: is a port of a running engine: left alone\n", found.device);
      continue;
    }
    ++count;
    fmt::print("device {}: {} weir's tc programs{}\n", found.device,
               is_dry ? "would remove" : "removed",
               found.has_own_qdisc ? " and clsact qdisc, unless others use it"
                                   : "; the clsact qdisc is somebody else's");
    if (!is_dry) io::remove_hooks(found.ifindex);
  }
  return count;
}

int clean_socket(const std::string& path, bool is_dry) {
  struct stat found{};
  if (lstat(path.c_str(), &found) != 0 || !S_ISSOCK(found.st_mode)) return 0;
  if (control::Listener::is_served(path)) {
    fmt::print("socket {}: an engine serves it: left alone\n", path);
    return 0;
  }
  fmt::print("socket {}: {}\n", path, is_dry ? "would remove" : "removed");
  if (!is_dry) control::Listener::remove_files(path);
  return 1;
}

}  // namespace

int cleanup_main(int argc, char** argv) {
  CLI::App app("Gives back to the host what an engine that died has left.", "weir cleanup");
  std::string netns;
  std::string socket = Settings().socket;
  bool is_dry = false;
  app.add_option("--netns", netns, "the network namespace, by name or path (default: this one)")
      ->type_name("NAME");
  app.add_option("--socket", socket, "the engine's socket (default: " + socket + ")")
      ->type_name("PATH");
  app.add_flag("--dry-run", is_dry, "say what would be removed, and remove nothing");
  app.footer(kFooter);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kWrongUsage;
  }
  if (geteuid() != 0) return refuse({EPERM, "needs root"});
  if (!netns.empty()) {
    if (auto entered = enter_namespace(netns); !entered) return refuse(entered.error());
  }
  libbpf_set_print(nullptr);
  const int count = clean_devices(is_dry) + clean_socket(socket, is_dry);
  if (count == 0) fmt::print("nothing was left behind\n");
  return kDone;
}

}  // namespace weir::daemon
