#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"
#include "base/siphash.h"
#include "packet/packet.h"
#include "packet/pool.h"
#include "wire/address.h"

namespace weir::pipeline {

/// An answer that weir gives in its own name: which error, and from which address. Types and codes
/// are in wire/icmp.h (namespace icmp for IPv4, icmpv6 for IPv6).
struct IcmpError {
  std::uint8_t type = 0;
  std::uint8_t code = 0;
  std::uint32_t rest =
      0;  // Next-hop MTU; for parameter problem the pointer, for IPv4 shifted by 24 bits.
  wire::Address
      source;  // Of the packet's family: normally the address of the interface it came in by.
};

/// Whether an error about this packet may be sent at all: never about ICMP errors (and redirects,
/// and unknown ICMP types), later fragments, packets to multicast or broadcast addresses or MACs,
/// or from addresses that name no single host (RFC 1122 section 3.2.2, RFC 4443 section 2.4(e);
/// icmp_send, icmp6_send). IPv6: packet too big may answer multicast, and so may parameter problem
/// code 2.
bool may_answer(const packet::Packet& about, const IcmpError& error);

/// The error as a new packet from `pool`, addressed to `about`'s source, with a zeroed Ethernet
/// header and from the host's side (is_from_host), header check group filled in. It quotes as much
/// of `about` as the kernel: IPv4 up to 576 bytes in all, IPv6 up to 1280. TTL 64, TOS: precedence
/// 6 (RFC 1812 section 4.3.2.5) with the packet's other bits for IPv4, class 0 for IPv6. Mark zero.
/// Null when may_answer() says no or the pool is empty.
packet::Packet* make_icmp_error(const packet::Packet& about, const IcmpError& error,
                                packet::Pool& pool);

/// The RST that a reject rule answers a TCP packet with (RFC 9293 section 3.10.7.1; nf_send_reset):
/// swapped addresses and ports, sequence or acknowledgment by the segment's flags. Null for
/// fragments, RSTs, non-TCP, truncated headers, wrong checksums, group MACs.
packet::Packet* make_tcp_reset(packet::Packet& about, packet::Pool& pool);

/// How many errors may leave: the kernel's two limits. Values are its defaults (sysctls
/// icmp_msgs_per_sec, icmp_msgs_burst, icmp_ratelimit, icmp_ratemask; net.ipv6.icmp.ratelimit,
/// ratemask).
struct IcmpLimits {
  std::uint32_t messages_per_second = 1000;
  std::uint32_t burst = 50;
  Duration ip_interval = std::chrono::milliseconds(1000);
  std::uint32_t ip_mask = 6168;  // Bits of limited types: 3, 4, 11, 12.
  Duration ip6_interval = std::chrono::milliseconds(100);
};

/// Token buckets for ICMP errors, one in all and one per destination. One per worker; not shared.
/// Memory is fixed: destinations share a table of 1,024 buckets by keyed hash; two that collide
/// share a bucket.
class IcmpLimiter {
 public:
  static constexpr std::size_t kDestinations = 1024;

  /// `key` is random per boot.
  IcmpLimiter(const IcmpLimits& limits, const HashKey& key);

  /// Whether this error may go to `destination` now; if so it is counted. Fragmentation needed and
  /// packet too big are not limited at all: path MTU discovery depends on them.
  bool allow(wire::Family family, const IcmpError& error, const wire::Address& destination,
             Time now);

 private:
  struct Bucket {
    Time last{};
    Duration credit{};
    bool is_used = false;
  };
  bool is_limited(wire::Family family, const IcmpError& error) const;
  Bucket& bucket_of(const wire::Address& destination);
  void refill_all(Time now);
  std::uint32_t next_random();

  IcmpLimits limits_;
  HashKey key_;
  std::uint64_t random_;
  Time all_last_{};
  std::int64_t all_credit_;  // In nanoseconds of message time, so that no fraction is lost.
  bool all_is_used_ = false;
  std::array<Bucket, kDestinations> destinations_;
};

}  // namespace weir::pipeline
