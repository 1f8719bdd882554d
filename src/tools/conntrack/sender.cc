#include "tools/conntrack/sender.h"

#include <fmt/format.h>
#include <linux/netlink.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

namespace weir::tools::conntrack {
namespace {

namespace fs = std::filesystem;

/// The inode of the netfilter socket with this port id, by /proc/net/netlink.
std::optional<std::string> inode_of(std::uint32_t port_id) {
  std::ifstream file("/proc/net/netlink");
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string skip, inode;
    unsigned protocol = 0;
    std::uint32_t port = 0;
    words >> skip >> protocol >> port >> skip >> skip >> skip >> skip >> skip >> skip >> inode;
    if (protocol == NETLINK_NETFILTER && port == port_id) return inode;
  }
  return {};
}

bool has_socket(const fs::path& process, const std::string& inode) {
  const std::string wanted = "socket:[" + inode + "]";
  std::error_code error;
  for (fs::directory_iterator at(process / "fd", error), end; !error && at != end;
       at.increment(error)) {
    std::error_code gone;
    if (fs::read_symlink(at->path(), gone) == wanted) return true;
  }
  return false;
}

std::string name_of(const fs::path& process) {
  std::ifstream file(process / "comm");
  std::string name;
  std::getline(file, name);
  return name;
}

std::string find_program(std::uint32_t port_id) {
  const auto inode = inode_of(port_id);
  if (!inode) return {};
  // Most programs' first port id is their process id.
  const fs::path likely = fmt::format("/proc/{}", port_id);
  if (has_socket(likely, *inode)) return name_of(likely);
  std::error_code error;
  for (fs::directory_iterator at("/proc", error), end; !error && at != end; at.increment(error)) {
    const std::string name = at->path().filename();
    const bool is_process =
        std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (is_process && has_socket(at->path(), *inode)) return name_of(at->path());
  }
  return {};
}

}  // namespace

std::string name_of_sender(std::uint32_t port_id) {
  const std::string program = find_program(port_id);
  const std::string who = fmt::format(" [USERSPACE] portid={}", port_id);
  return program.empty() ? who : fmt::format("{} progname={}", who, program);
}

}  // namespace weir::tools::conntrack
