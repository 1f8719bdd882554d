#include "packet/checksum.h"

#include <algorithm>

#include "wire/checksum.h"
#include "wire/protocol.h"
#include "wire/udp.h"

namespace weir::packet {
namespace {

/// How many bytes of a UDPLite packet its checksum covers (RFC 3828 section 3.1); zero when the
/// field is not allowed.
std::size_t udplite_coverage(Bytes l4) {
  const std::size_t coverage = wire::at<wire::Udp>(l4.data()).length();
  if (coverage == 0) return l4.size();
  return coverage >= sizeof(wire::Udp) && coverage <= l4.size() ? coverage : 0;
}

/// DCCP (RFC 4340 section 9.2): CsCov counts words of payload beyond the header; zero means all.
std::size_t dccp_coverage(Bytes l4) {
  const auto& header = wire::at<wire::Dccp>(l4.data());
  const std::size_t coverage = l4[5] & 0x0f;
  if (coverage == 0) return l4.size();
  return std::min(l4.size(), header.header_bytes() + (coverage - 1) * 4);
}

bool sums_to_zero(const Packet& packet, Bytes covered, bool has_pseudo_header) {
  wire::Sum total = wire::sum(covered);
  if (has_pseudo_header) {
    total += wire::pseudo_header(packet.family, packet.l3().data(), packet.l4_protocol,
                                 static_cast<std::uint32_t>(packet.l4().size()));
  }
  return wire::finish(total).raw == 0;
}

bool is_right(const Packet& packet) {
  const Bytes l4 = packet.l4();
  const bool is_ip = packet.family == wire::Family::ip;
  switch (packet.l4_protocol) {
    case wire::protocol::kTcp:
      return l4.size() >= 20 && sums_to_zero(packet, l4, true);
    case wire::protocol::kUdp: {
      const auto* const udp = wire::view<wire::Udp>(l4);
      if (udp == nullptr) return false;
      if (!udp->has_checksum()) return is_ip;  // RFC 8200 section 8.1.
      return sums_to_zero(packet, l4, true);
    }
    case wire::protocol::kUdplite: {
      if (l4.size() < sizeof(wire::Udp)) return false;
      const std::size_t coverage = udplite_coverage(l4);
      return coverage != 0 && sums_to_zero(packet, l4.first(coverage), true);
    }
    case wire::protocol::kDccp:
      return l4.size() >= sizeof(wire::Dccp) &&
             sums_to_zero(packet, l4.first(dccp_coverage(l4)), true);
    case wire::protocol::kIcmp:
      return !is_ip || (l4.size() >= 8 && sums_to_zero(packet, l4, false));
    case wire::protocol::kIcmpv6:
      return is_ip || (l4.size() >= 4 && sums_to_zero(packet, l4, true));
    default:
      return true;
  }
}

}  // namespace

bool finish_checksum(Packet& packet) {
  if (packet.checksum != Checksum::partial) return true;
  const std::size_t at = std::size_t{packet.csum_start} + packet.csum_offset;
  if (packet.csum_start > packet.length || at + 2 > packet.length) return false;

  // The field holds the pseudo-header's sum, so summing over it adds that in.
  std::uint8_t* const field = packet.frame() + at;
  const Be16 checksum = wire::finish(wire::sum(packet.bytes().subspan(packet.csum_start)));
  // A computed zero goes out as all ones: UDP requires it (RFC 768), the others mean the same by
  // both.
  store(field, wire::udp_nonzero(checksum));
  packet.checksum = Checksum::verified;
  return true;
}

bool verify_checksum(Packet& packet) {
  if (packet.checksum != Checksum::unknown || packet.is_fragment) return true;
  if (!is_right(packet)) return false;
  packet.checksum = Checksum::verified;
  return true;
}

}  // namespace weir::packet
