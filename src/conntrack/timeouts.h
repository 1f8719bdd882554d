#pragma once

#include <chrono>

#include "base/clock.h"
#include "conntrack/proto/tcp.h"

namespace weir::conntrack {

/// nf_conntrack_udp_timeout and nf_conntrack_udp_timeout_stream.
struct UdpTimeouts {
  Duration unreplied = std::chrono::seconds(30);
  Duration stream = std::chrono::seconds(120);
};

/// What the trackers may be told (sysctl net.netfilter.nf_conntrack_*), with the kernel's defaults.
struct Timeouts {
  TcpSettings tcp;
  UdpTimeouts udp;
  Duration icmp = std::chrono::seconds(30);
  Duration icmpv6 = std::chrono::seconds(30);
  Duration generic = std::chrono::seconds(600);
};

}  // namespace weir::conntrack
