#pragma once

#include <cstdint>

#include "wire/address.h"

namespace weir::nat {

/// Which end of a connection's original direction is translated (the kernel's enum
/// nf_nat_manip_type).
enum class Manip : std::uint8_t { src = 0, dst = 1 };

/// Where a connection may be mapped to: what nat, masq and redir expressions, and helpers, ask for.
/// The flags' values are the kernel's NF_NAT_RANGE_* (<linux/netfilter/nf_nat.h>), which nftables
/// carries. Ports are in host order; for ICMP they are ids.
struct Range {
  static constexpr std::uint32_t kMapAddresses = 1 << 0;    // min_address .. max_address
  static constexpr std::uint32_t kPortsSpecified = 1 << 1;  // min_port .. max_port
  static constexpr std::uint32_t kRandom = 1 << 2;
  static constexpr std::uint32_t kPersistent = 1 << 3;  // A client's address depends on it alone.
  static constexpr std::uint32_t kFullyRandom = 1
                                                << 4;  // Never keeps the port, even if it is free.
  static constexpr std::uint32_t kPortOffset =
      1 << 5;                                       // Port shifted: min_port + (port - base_port).
  static constexpr std::uint32_t kNetmap = 1 << 6;  // Prefix to prefix, host bits kept.
  static constexpr std::uint32_t kAllFlags = 0x7f;

  std::uint32_t flags = 0;
  wire::Address min_address;
  wire::Address max_address;
  std::uint16_t min_port = 0;
  std::uint16_t max_port = 0;
  std::uint16_t base_port = 0;

  bool has(std::uint32_t flag) const { return (flags & flag) != 0; }

  /// Everything to this address, ports as they come.
  static Range to(const wire::Address& address) {
    return {.flags = kMapAddresses, .min_address = address, .max_address = address};
  }
};

/// What a netmap range means for one address: its host bits under the range's prefix. The prefix is
/// where min_address and max_address agree.
Range netmap(const Range& range, const wire::Address& address, wire::Family family);

}  // namespace weir::nat
