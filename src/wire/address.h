#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/endian.h"

namespace weir::wire {

/// The network protocols that weir forwards. The values are AF_INET's and AF_INET6's, which is what
/// netlink carries.
enum class Family : std::uint8_t { none = 0, ip = 2, ip6 = 10 };

/// Bytes of one address of the family: 4 or 16.
constexpr std::size_t address_bytes(Family family) { return family == Family::ip ? 4 : 16; }

/// An IPv4 or IPv6 address in network order. IPv4 lies in the first four bytes and the rest is
/// zero, so two addresses of one family compare as 16 bytes. The family is kept beside it, once for
/// many addresses (the kernel's union nf_inet_addr).
struct alignas(4) Address {
  std::array<std::uint8_t, 16> bytes{};

  static Address ip(Be32 v4) {
    Address a;
    std::memcpy(a.bytes.data(), &v4, 4);
    return a;
  }
  static Address ip(std::uint32_t host_order) { return ip(Be32::from_host(host_order)); }
  /// From 4 or 16 bytes of a header; `from.size()` must be address_bytes() of the family.
  static Address from(Bytes from) {
    Address a;
    std::memcpy(a.bytes.data(), from.data(), from.size() < 16 ? from.size() : 16);
    return a;
  }

  Be32 v4() const { return {load<std::uint32_t>(bytes.data())}; }
  Bytes view(Family family) const { return Bytes(bytes).first(address_bytes(family)); }

  bool is_zero() const { return *this == Address{}; }
  auto operator<=>(const Address&) const = default;
};

/// "192.0.2.1" or "2001:db8::1".
std::string to_string(const Address& address, Family family);

struct FamilyAddress {
  Family family = Family::none;
  Address address;
  bool operator==(const FamilyAddress&) const = default;
};

/// Reads either notation; nothing when the text is neither.
std::optional<FamilyAddress> parse_address(std::string_view text);

/// An address with a prefix length, e.g. 10.0.0.0/8. Bits beyond the prefix are zero.
struct Prefix {
  Family family = Family::none;
  Address address;
  std::uint8_t length = 0;
  bool contains(Family family, const Address& address) const;
  bool operator==(const Prefix&) const = default;
};

/// "10.0.0.0/8", "2001:db8::/32", or an address alone (a host). Host bits are cleared.
std::optional<Prefix> parse_prefix(std::string_view text);

}  // namespace weir::wire
