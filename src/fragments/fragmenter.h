#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "packet/packet.h"
#include "packet/pool.h"

namespace weir::fragments {

/// Whether a packet fits its way out (ip_exceeds_mtu and ip_fragment, ip6_pkt_too_big and
/// ip6_fragment).
enum class Fit : std::uint8_t {
  whole,     // Send it as it is. GSO packets: their segments fit.
  fragment,  // Call fragment().
  too_big,   // Drop, and answer with fragmentation needed or packet too big.
};

/// Decides by length, DF, GSO and what is remembered of reassembly:
/// - IPv4: what came in pieces goes out in pieces. Without DF anything may be cut. With DF only a
/// reassembled
///   packet, none of whose pieces was larger than the MTU.
/// - IPv6: only what came in pieces may be cut, unless a piece was larger than the MTU.
/// - GSO: too big when one segment with its headers is; never cut.
Fit fits_unusual(const packet::Packet& packet, std::uint32_t mtu_bytes);
inline Fit fits(const packet::Packet& packet, std::uint32_t mtu_bytes) {
  const bool is_usual = packet.ip_length <= mtu_bytes && packet.fragment_count == 0;
  return is_usual ? Fit::whole : fits_unusual(packet, mtu_bytes);
}

/// Numbers for IPv6 fragment headers (RFC 7739: not predictable from outside). One per worker.
class FragmentIds {
 public:
  explicit FragmentIds(std::uint64_t seed) : state_(seed) {}
  std::uint32_t next();

 private:
  std::uint64_t state_;
};

/// The most pieces that fragment() can make of one packet.
inline constexpr std::size_t kMaxPieces = packet::kMaxPieces;

/// Cuts `whole` into pieces, which come from `pool` and are given to `out` in order. The sizes are
/// those of the pieces that came in as long as each fits the MTU and they still sum up to the
/// packet's length; otherwise pieces are as large as the MTU, but no larger than the largest that
/// came in, allows. A partial checksum is finished first. `whole` stays the caller's.
///
/// Returns the number of pieces, zero when there is no room in `out`, the pool or the MTU for all
/// of them: then none is made.
std::size_t fragment(packet::Packet& whole, std::uint32_t mtu_bytes, FragmentIds& ids,
                     packet::Pool& pool, std::span<packet::Packet*> out);

}  // namespace weir::fragments
