#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "conntrack/tuple.h"

namespace weir::conntrack {

/// The ends of the connections that a batch has begun and not yet confirmed, as a small Bloom
/// filter. A packet of no known connection waits for the second pass when it may belong to one of
/// them: it comes from where an earlier one goes, or goes where an earlier one comes from (an
/// answer, whichever of the two ends NAT will change), or both ends are the same (another packet of
/// the flow). An ICMP query has no ports, its ends are addresses. A false alarm costs a second look
/// and changes no result.
class BatchEnds {
 public:
  bool may_meet(const Tuple& tuple) const {
    if (is_empty_) return false;
    const std::uint32_t src = hash(tuple, tuple.src, source_port(tuple));
    const std::uint32_t dst = hash(tuple, tuple.dst, destination_port(tuple));
    return has(destinations_, src) || has(sources_, dst) ||
           (has(sources_, src) && has(destinations_, dst));
  }
  void add(const Tuple& tuple) {
    if (is_empty_) {
      sources_.fill(0);
      destinations_.fill(0);
      is_empty_ = false;
    }
    set(sources_, hash(tuple, tuple.src, source_port(tuple)));
    set(destinations_, hash(tuple, tuple.dst, destination_port(tuple)));
  }

 private:
  static constexpr std::size_t kBits = 4096;
  using Filter = std::array<std::uint64_t, kBits / 64>;

  static bool has_ports(const Tuple& tuple) { return tuple.protocol != 1 && tuple.protocol != 58; }
  static std::uint16_t source_port(const Tuple& tuple) {
    return has_ports(tuple) ? tuple.src_port.raw : 0;
  }
  static std::uint16_t destination_port(const Tuple& tuple) {
    return has_ports(tuple) ? tuple.dst_port.raw : 0;
  }
  static std::uint32_t hash(const Tuple& tuple, const wire::Address& address, std::uint16_t port) {
    std::array<std::uint64_t, 2> words;
    std::memcpy(words.data(), address.bytes.data(), 16);
    std::uint64_t h = words[0] * 0x9e3779b97f4a7c15 ^ words[1];
    h = (h ^ std::uint64_t{port} << 16 ^ std::uint64_t{tuple.protocol} << 40) * 0x9e3779b97f4a7c15;
    return static_cast<std::uint32_t>(h >> 52);
  }
  static bool has(const Filter& filter, std::uint32_t bit) {
    return (filter[bit / 64] >> bit % 64 & 1) != 0;
  }
  static void set(Filter& filter, std::uint32_t bit) {
    filter[bit / 64] |= std::uint64_t{1} << bit % 64;
  }

  // Most batches begin no connection: the filters are cleared by the first one.
  bool is_empty_ = true;
  Filter sources_;
  Filter destinations_;
};

}  // namespace weir::conntrack
