#include "routing/sysctl.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>

namespace weir::routing {

namespace {

int read_number(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  char text[32] = {};
  const ssize_t got = read(fd, text, sizeof text - 1);
  close(fd);
  return got <= 0 ? 0 : std::atoi(text);
}

int conf(const char* family, const std::string& interface, const char* name) {
  return read_number(std::string("/proc/sys/net/") + family + "/conf/" + interface + "/" + name);
}

}  // namespace

InterfaceSettings read_interface_settings(const std::string& interface) {
  const auto either = [&](const char* name) {
    return conf("ipv4", "all", name) != 0 || conf("ipv4", interface, name) != 0;
  };
  const int rp_filter =
      std::max(conf("ipv4", "all", "rp_filter"), conf("ipv4", interface, "rp_filter"));
  return {.rp_filter = static_cast<std::uint8_t>(std::clamp(rp_filter, 0, 2)),
          .accept_local = either("accept_local"),
          .route_localnet = either("route_localnet"),
          .src_valid_mark = either("src_valid_mark"),
          .ignore_linkdown_ip = either("ignore_routes_with_linkdown"),
          .ignore_linkdown_ip6 = conf("ipv6", interface, "ignore_routes_with_linkdown") != 0};
}

GlobalSettings read_global_settings() {
  const auto policy = [](const char* family) {
    return static_cast<std::uint8_t>(
        read_number(std::string("/proc/sys/net/") + family + "/fib_multipath_hash_policy"));
  };
  return {.multipath_hash_policy_ip = policy("ipv4"), .multipath_hash_policy_ip6 = policy("ipv6")};
}

}  // namespace weir::routing
