#pragma once

#include <cstdint>

/// weir's own nfnetlink subsystem: what netfilter has no message for. Documented for clients in
/// docs/NETLINK.md. Numbers never change once released.
namespace weir::netlink::own {

/// In the place of NFNL_SUBSYS_*; the kernel's end far below.
inline constexpr std::uint8_t kSubsystem = 0x77;

enum Message : std::uint8_t {
  kGetStats = 0,  // Dump. Answers: kStats, each with many kStat.
  kStats = 1,
  kGetSysctls = 2,  // Dump of all knobs, or with kSysctlName of one. Answers: kSysctl.
  kSysctl = 3,
  kSetSysctl = 4,  // With kSysctlName and kSysctlValue.
};

/// Attributes of kStats.
enum StatsAttribute : std::uint16_t {
  kStat = 1,  // Nested, repeated.
};

/// Attributes of kStat.
enum StatAttribute : std::uint16_t {
  kStatName = 1,   // String: dotted path, e.g. "drop.chain_policy" or "port.lan.rx_packets".
  kStatValue = 2,  // u64, network order.
};

/// Attributes of kGetSysctls, kSysctl and kSetSysctl.
enum SysctlAttribute : std::uint16_t {
  kSysctlName = 1,   // String: "net.netfilter.nf_conntrack_tcp_loose"; in requests also shorter.
  kSysctlValue = 2,  // u32, network order.
};

}  // namespace weir::netlink::own
