#pragma once

#include <cstdint>
#include <vector>

#include "replay/options.h"
#include "routing/database.h"

namespace weir::replay {

/// The two sides of the replayed gateway; the values are the engine's port numbers.
enum class Side : std::uint16_t { inside = 0, outside = 1 };

/// The ports' interface indices.
constexpr std::uint32_t ifindex_of(Side side) { return static_cast<std::uint32_t>(side) + 1; }

/// Which side of the gateway an address is on. Without prefixes given, what is never routed on the
/// Internet is inside: RFC 1918, RFC 6598 (100.64.0.0/10), RFC 3927 (169.254.0.0/16), and in IPv6
/// unique local and link-local addresses (RFC 4193, RFC 4291 section 2.5.6).
class Sides {
 public:
  explicit Sides(std::vector<wire::Prefix> inside);

  Side of(wire::Family family, const wire::Address& address) const;
  const std::vector<wire::Prefix>& inside() const { return inside_; }

 private:
  std::vector<wire::Prefix> inside_;
};

/// Gives the engine the gateway's network: one interface a side without neighbours to resolve, the
/// inside prefixes behind the one, everything else behind the other, and an address of each family
/// on both, so that masquerade and ICMP errors have one. Defaults: outside 192.0.2.1 and
/// 2001:db8:ffff::1, inside 192.0.2.129 and 2001:db8:fffe::1.
void build_network(const Options& options, const Sides& sides, routing::Database& routing);

}  // namespace weir::replay
