#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "base/clock.h"
#include "base/error.h"
#include "wire/protocol.h"

namespace weir::conntrack {

/// One number that may be changed while packets pass: the control thread writes, anybody reads, at
/// some moment. A copy is a copy of the number.
class Knob {
 public:
  constexpr Knob(std::uint32_t value = 0) : value_(value) {}
  Knob(const Knob& other) : value_(other.get()) {}
  Knob& operator=(const Knob& other) {
    set(other.get());
    return *this;
  }

  std::uint32_t get() const { return value_.load(std::memory_order_relaxed); }
  void set(std::uint32_t value) { value_.store(value, std::memory_order_relaxed); }
  bool is_on() const { return get() != 0; }
  Duration seconds() const { return std::chrono::seconds(get()); }

 private:
  std::atomic<std::uint32_t> value_;
};

/// The timeouts of one transport protocol, in seconds, by the number that nfnetlink_cttimeout gives
/// to each (CTA_TIMEOUT_TCP_SYN_SENT and so on; [0] is not used). The knobs have one for each
/// protocol, and so has a timeout policy: trackers don't know which of them they are given.
class TimeoutList {
 public:
  static constexpr std::size_t kMax = 12;

  constexpr TimeoutList() = default;
  /// From number 1 on.
  constexpr TimeoutList(std::initializer_list<std::uint32_t> seconds) {
    std::size_t i = 1;
    for (const std::uint32_t each : seconds) values_[i++].set(each);
  }

  Duration operator[](std::size_t number) const { return values_[number].seconds(); }
  Knob& at(std::size_t number) { return values_[number]; }
  const Knob& at(std::size_t number) const { return values_[number]; }

 private:
  std::array<Knob, kMax> values_{};
};

/// The numbers within a TimeoutList: enum ctattr_timeout_* (<linux/netfilter/
/// nfnetlink_cttimeout.h>). TCP's, SCTP's and DCCP's states are numbered alike there and in their
/// state machines.
namespace timeout {
inline constexpr std::size_t kOnly = 1;                    // ICMP, ICMPv6, generic.
inline constexpr std::size_t kUnreplied = 1, kStream = 2;  // UDP, UDPLite, GRE.
inline constexpr std::size_t kTcpRetransmitted = 10, kTcpUnacknowledged = 11;
}  // namespace timeout

/// What net.netfilter.nf_conntrack_tcp_* says beside the timeouts.
struct TcpKnobs {
  Knob loose{1};
  Knob be_liberal{0};
  Knob max_retrans{3};
  Knob ignore_invalid_rst{0};
};

/// The kernel's net.netfilter.nf_conntrack_* settings (and those of the reassembly before it), with
/// its defaults. Times are in seconds. All are live: what reads one reads it each time. Who wants
/// one under its name uses the table below.
struct Sysctl {
  // The table.
  Knob max{262144};        // Connections; 0: as many as there is memory for.
  Knob max_limit{262144};  // What the table was made for; no knob of the kernel's.
  Knob count{0};           // Read only: whoever shows it writes what the table says first.
  Knob buckets{0};         // Likewise: slots of the index. It grows by itself.
  Knob expect_max{4096};   // Expectations.
  Knob acct{1};            // Connections made from now on are counted. The kernel's default is 0.
  Knob timestamp{1};       // They have time stamps. Likewise.
  Knob events{2};          // 0: none. 1: on. 2: on while anybody listens.
  Knob checksum{1};        // Verify transport checksums.
  Knob log_invalid{0};     // 0: no. 255: all protocols. Else the number of one.

  // Timeouts.
  TimeoutList tcp{120, 60, 432000, 120, 60, 30, 120, 10, 120, 300, 300};
  TimeoutList udp{30, 120};
  TimeoutList icmp{30};
  TimeoutList icmpv6{30};
  TimeoutList generic{600};
  TimeoutList sctp{10, 3, 3, 210, 3, 3, 3, 30, 0};
  TimeoutList dccp{240, 480, 480, 43200, 64, 64, 240};
  TimeoutList gre{30, 180};

  TcpKnobs tcp_knobs;

  // Reassembly.
  Knob ipfrag_high_thresh{4194304};  // Bytes. net.ipv4.ipfrag_*
  Knob ipfrag_low_thresh{3145728};
  Knob ipfrag_time{30};
  Knob frag6_high_thresh{4194304};  // net.netfilter.nf_conntrack_frag6_*
  Knob frag6_low_thresh{3145728};
  Knob frag6_timeout{60};

  /// The timeouts for a transport protocol number of one family's packets. UDPLite has UDP's, as in
  /// the kernel.
  const TimeoutList& timeouts(std::uint8_t protocol) const {
    switch (protocol) {
      case wire::protocol::kTcp:
        return tcp;
      case wire::protocol::kUdp:
      case wire::protocol::kUdplite:
        return udp;
      case wire::protocol::kIcmp:
        return icmp;
      case wire::protocol::kIcmpv6:
        return icmpv6;
      case wire::protocol::kSctp:
        return sctp;
      case wire::protocol::kDccp:
        return dccp;
      case wire::protocol::kGre:
        return gre;
      default:
        return generic;
    }
  }
  TimeoutList& timeouts(std::uint8_t protocol) {
    return const_cast<TimeoutList&>(std::as_const(*this).timeouts(protocol));
  }
};

/// A knob's name and what may be written to it.
struct SysctlName {
  std::string_view name;  // "net.netfilter.nf_conntrack_tcp_loose"
  Knob& (*knob)(Sysctl&);
  std::uint32_t least = 0;
  std::uint32_t most = 0;
  bool is_read_only = false;
};

/// All of them, in the order of their names.
std::span<const SysctlName> sysctl_names();

/// By its name; "nf_conntrack_tcp_loose" and "tcp_loose" find net.netfilter.nf_conntrack_tcp_loose
/// too. Null when there is none.
const SysctlName* find_sysctl(std::string_view name);

/// Writes a number (decimal, or as in C: 0x10, 010) to a knob. Errors: EPERM for one that is read
/// only; EINVAL, naming the range.
Result<void> set_sysctl(Sysctl& sysctl, const SysctlName& name, std::string_view value);

}  // namespace weir::conntrack
