#pragma once

#include <sched.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "base/file_descriptor.h"

namespace weir::io {

/// For tests: this process in a network namespace of its own, with a veth pair `port0` and `far0`
/// of MTU 1500, up, without IPv6's own traffic, otherwise as the kernel makes it. Where that isn't
/// allowed, is_made() is false and the test skips.
class VethLab {
 public:
  VethLab() {
    is_made_ =
        geteuid() == 0 && unshare(CLONE_NEWNET) == 0 && run("ip link set lo up") &&
        run("ip link add port0 address 02:00:00:00:00:0a type veth peer name far0 address "
            "02:00:00:00:00:0b") &&
        run("sysctl -qw net.ipv6.conf.port0.disable_ipv6=1 net.ipv6.conf.far0.disable_ipv6=1") &&
        run("ip link set port0 up") && run("ip link set far0 up");
  }
  bool is_made() const { return is_made_; }
  static bool run(const std::string& command) {
    return std::system((command + " >/dev/null 2>&1").c_str()) == 0;
  }

 private:
  bool is_made_ = false;
};

}  // namespace weir::io
