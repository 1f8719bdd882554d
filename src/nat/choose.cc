// Choosing an address and port for a connection, as the kernel's get_unique_tuple does.
//
// A search of a whole range would let whoever fills it stall the path, so it is bounded: a run of
// 128 ports from a random start, then half as many from another start, and so on down to 16. A
// range of no more than 128 ports is searched completely. The last claims of each run may push out
// connections that are over (TIME_WAIT).
//
// A search among nearly all taken ports would fail although some are free, and cost all its claims.
// So a pool in which searches meet one taken port after the other gets a map (port_map.h) that
// shows where a free one may be.

#include "nat/choose.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "base/siphash.h"
#include "wire/protocol.h"

namespace weir::nat {
namespace {

using conntrack::Tuple;
using wire::Address;
using wire::Family;

constexpr std::uint32_t kMostAttempts = 128;
constexpr std::uint32_t kFewestAttempts = 16;
constexpr std::uint32_t kEvictingAttempts = kMostAttempts / 4;
/// So many taken ports in a row make a pool crowded; an unlucky search of a half empty one comes to
/// it once in 256.
constexpr std::uint32_t kCrowded = 8;
constexpr std::uint32_t kCorrectingOneIn = 16;

bool is_icmp(std::uint8_t protocol) {
  return protocol == wire::protocol::kIcmp || protocol == wire::protocol::kIcmpv6;
}

/// Whether NAT may change what the transport identifies flows by.
bool has_port(std::uint8_t protocol) {
  return protocol == wire::protocol::kTcp || protocol == wire::protocol::kUdp ||
         protocol == wire::protocol::kUdplite || protocol == wire::protocol::kDccp ||
         protocol == wire::protocol::kSctp || is_icmp(protocol);
}

struct Ports {
  std::uint32_t first = 0;
  std::uint32_t count = 0;
};

/// The ports that may be chosen; none when the port must stay. Without a range a port stays within
/// its class: below 512, where rlogin and its like show that they are root; below 1024; the rest.
Ports allowed_ports(const Tuple& reply, Manip manip, const Range& range, std::uint16_t port) {
  if (!has_port(reply.protocol)) return {};
  if (range.has(Range::kPortsSpecified)) {
    const auto [low, high] = std::minmax(range.min_port, range.max_port);
    return {low, std::uint32_t{high} - low + 1};
  }
  if (is_icmp(reply.protocol)) return {0, 65536};
  if (manip == Manip::dst) return {};
  if (port < 512) return {1, 511};
  if (port < 1024) return {600, 424};
  return {1024, 64512};
}

bool is_port_in_range(const Tuple& reply, std::uint16_t port, const Range& range) {
  return !has_port(reply.protocol) || (port >= range.min_port && port <= range.max_port);
}

std::uint16_t first_offset(Manip manip, const Range& range, std::uint16_t port, Claims& claims) {
  if (range.has(Range::kPortOffset)) return static_cast<std::uint16_t>(port - range.base_port);
  if (manip == Manip::src || range.has(Range::kRandom | Range::kFullyRandom))
    return claims.random();
  return 0;
}

/// Looks at one port now and then: one that has become free without our being told is unmarked.
void correct(Tuple reply, const Ports& ports, PortMap& map, Claims& claims) {
  const std::uint16_t chance = claims.random();
  if (chance % kCorrectingOneIn != 0) return;
  const auto port =
      static_cast<std::uint16_t>(ports.first + chance / kCorrectingOneIn % ports.count);
  mapped_end(reply, Manip::src).port = Be16::from_host(port);
  if (map.is_marked(port) && !claims.is_taken(reply)) map.clear(port);
}

/// In a crowded pool: only what the map has for free, and then what can be evicted.
bool search_map(Tuple& reply, const Ports& ports, std::uint32_t offset, PortMap& map,
                Claims& claims) {
  Be16& port = mapped_end(reply, Manip::src).port;
  offset %= ports.count;
  for (std::uint32_t left = kMostAttempts; left > 0; --left) {
    const auto free =
        map.next_free(static_cast<std::uint16_t>(ports.first + offset), ports.first, ports.count);
    if (!free) break;
    port = Be16::from_host(*free);
    map.mark(*free);
    if (claims.claim(reply, false)) {
      correct(reply, ports, map, claims);
      return true;
    }
    offset = (*free - ports.first + 1) % ports.count;
  }
  // None, as far as is known. A sample over the whole range finds those that are over, and shows
  // whether the map is wrong.
  const std::uint32_t samples = std::min(kEvictingAttempts, ports.count);
  for (std::uint32_t i = 0; i < samples; ++i) {
    const std::uint32_t spread = i * ports.count / samples;
    port =
        Be16::from_host(static_cast<std::uint16_t>(ports.first + (offset + spread) % ports.count));
    if (claims.claim(reply, true)) return true;
  }
  return false;
}

bool search(Tuple& reply, Manip manip, const Range& range, Claims& claims) {
  Be16& port = mapped_end(reply, manip).port;
  const Ports ports = allowed_ports(reply, manip, range, port.host());
  if (ports.count == 0) return false;

  std::uint16_t offset = first_offset(manip, range, port.host(), claims);
  PortMap* map = manip == Manip::src ? claims.ports(reply, false) : nullptr;
  std::uint32_t taken = 0;
  for (std::uint32_t attempts = std::min(ports.count, kMostAttempts);; attempts /= 2) {
    for (std::uint32_t left = attempts; left > 0; --left, ++offset) {
      if (map != nullptr) return search_map(reply, ports, offset, *map, claims);
      port = Be16::from_host(static_cast<std::uint16_t>(ports.first + offset % ports.count));
      if (claims.claim(reply, left <= kEvictingAttempts)) return true;
      if (++taken == kCrowded && manip == Manip::src) map = claims.ports(reply, true);
    }
    if (attempts >= ports.count || attempts < kFewestAttempts) return false;
    offset = claims.random();
  }
}

std::uint32_t word(const Address& address, std::size_t i) {
  return load<Be32>(&address.bytes[i * 4]).host();
}

/// Scales 32 random bits to [low, high].
std::uint32_t scale(std::uint32_t random, std::uint32_t low, std::uint32_t high) {
  const std::uint64_t count = std::uint64_t{high} - low + 1;
  return low + static_cast<std::uint32_t>(random * count >> 32);
}

}  // namespace

MappedEnd mapped_end(Tuple& reply, Manip manip) {
  if (manip == Manip::dst) return {reply.src, reply.src_port};
  return {reply.dst, is_icmp(reply.protocol) ? reply.src_port : reply.dst_port};
}

bool is_in_range(const Tuple& reply, Manip manip, const Range& range) {
  Tuple copy = reply;
  const MappedEnd end = mapped_end(copy, manip);
  if (range.has(Range::kMapAddresses)) {
    const std::size_t bytes = wire::address_bytes(reply.family);
    if (std::memcmp(end.address.bytes.data(), range.min_address.bytes.data(), bytes) < 0 ||
        std::memcmp(end.address.bytes.data(), range.max_address.bytes.data(), bytes) > 0) {
      return false;
    }
  }
  return !range.has(Range::kPortsSpecified) || is_port_in_range(reply, end.port.host(), range);
}

Address choose_address(const Tuple& reply, const Range& range) {
  if (range.min_address == range.max_address) return range.min_address;

  // Unkeyed on purpose: the same after a restart.
  const std::uint64_t zone = reply.zone;
  const bool is_persistent = range.has(Range::kPersistent);
  const Address client = reply.dst;
  const Address server = is_persistent ? Address{} : reply.src;
  const std::uint64_t hash = siphash13<5>(
      HashKey{},
      {load<std::uint64_t>(&client.bytes[0]), load<std::uint64_t>(&client.bytes[8]),
       load<std::uint64_t>(&server.bytes[0]), load<std::uint64_t>(&server.bytes[8]), zone});

  // Word by word within what the words before leave open.
  Address chosen;
  bool is_at_min = true;
  bool is_at_max = true;
  std::uint64_t random = hash;
  for (std::size_t i = 0; i < wire::address_bytes(reply.family) / 4; ++i) {
    const std::uint32_t low = is_at_min ? word(range.min_address, i) : 0;
    const std::uint32_t high = is_at_max ? word(range.max_address, i) : 0xffffffff;
    const std::uint32_t value =
        high < low ? low : scale(static_cast<std::uint32_t>(random), low, high);
    store(&chosen.bytes[i * 4], Be32::from_host(value));
    is_at_min = is_at_min && value == low;
    is_at_max = is_at_max && value == high;
    random = std::rotl(random, 32) * 0x9e3779b97f4a7c15;
  }
  return chosen;
}

bool choose(Tuple& reply, Manip manip, const Range& range, Claims& claims) {
  const MappedEnd end = mapped_end(reply, manip);
  if (range.has(Range::kMapAddresses)) end.address = choose_address(reply, range);

  const bool is_allowed =
      !range.has(Range::kPortsSpecified) ||
      (!range.has(Range::kPortOffset) && is_port_in_range(reply, end.port.host(), range));
  const bool is_fixed = allowed_ports(reply, manip, range, end.port.host()).count == 0;
  const bool is_random = range.has(Range::kRandom | Range::kFullyRandom);
  const bool may_keep = is_fixed || (is_allowed && !is_random);
  if (may_keep && claims.claim(reply, false)) return true;
  return search(reply, manip, range, claims);
}

Range netmap(const Range& range, const Address& address, Family family) {
  Range one = range;
  one.flags = (range.flags & ~Range::kNetmap) | Range::kMapAddresses;
  for (std::size_t i = 0; i < wire::address_bytes(family); ++i) {
    const auto host_bits =
        static_cast<std::uint8_t>(range.min_address.bytes[i] ^ range.max_address.bytes[i]);
    const auto prefix = static_cast<std::uint8_t>(~host_bits);
    one.min_address.bytes[i] = static_cast<std::uint8_t>((address.bytes[i] & host_bits) |
                                                         (range.min_address.bytes[i] & prefix));
  }
  one.max_address = one.min_address;
  return one;
}

}  // namespace weir::nat
