#include "rules/expr/payload_write.h"

#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>

#include "rules/expr/header_base.h"
#include "wire/checksum.h"

namespace weir::rules {
namespace {

constexpr std::uint32_t kUdpChecksum = 6;

/// What the write changes in a sum: minus what was there, plus what comes.
wire::Sum difference(Bytes before, Bytes after) {
  return wire::Sum{static_cast<std::uint16_t>(~wire::fold(wire::sum(before)).raw)} +
         wire::sum(after);
}

/// Applies it to a finished checksum; a result of zero is written as all ones, which UDP needs and
/// others allow.
void update(std::uint8_t* at, wire::Sum change) {
  const wire::Sum before{static_cast<std::uint16_t>(~load<Be16>(at).raw)};
  store(at, wire::udp_nonzero(wire::finish(before + change)));
}

void update_partial(std::uint8_t* at, wire::Sum change) {
  store(at, wire::fold(wire::Sum{load<Be16>(at).raw} + change));
}

/// Where the checksum of the transport lies that has a pseudo-header; nothing when it has none to
/// update.
std::optional<std::uint32_t> transport_checksum(const packet::Packet& packet) {
  if (!has_transport(packet)) return std::nullopt;
  std::uint32_t offset = 0;
  switch (packet.l4_protocol) {
    case IPPROTO_TCP:
      offset = 16;
      break;
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
      offset = kUdpChecksum;
      break;
    case IPPROTO_ICMPV6:
      offset = 2;
      break;
    default:
      return std::nullopt;
  }
  const std::uint32_t at = packet.l4_offset + offset;
  if (at + 2 > readable_end(packet)) return std::nullopt;
  const bool is_udp = packet.l4_protocol == IPPROTO_UDP;
  if (is_udp && load<Be16>(packet.frame() + at).raw == 0 &&
      packet.checksum != packet::Checksum::partial) {
    return std::nullopt;  // The sender computed none (RFC 768).
  }
  return at;
}

bool write_link_header(packet::Packet& packet, const PayloadField& field, Bytes value) {
  constexpr std::uint32_t kEthernetAddressBytes = 12;
  if (packet.vlan_count > 0 && field.offset + field.length > kEthernetAddressBytes) return false;
  if (field.offset + field.length > packet.l3_offset) return false;
  std::memcpy(packet.frame() + field.offset, value.data(), value.size());
  return true;
}

}  // namespace

std::optional<std::uint32_t> base_offset(const packet::Packet& packet, std::uint8_t base) {
  switch (base) {
    case NFT_PAYLOAD_LL_HEADER:
      return 0;
    case NFT_PAYLOAD_NETWORK_HEADER:
      return packet.l3_offset;
    case NFT_PAYLOAD_TRANSPORT_HEADER:
      if (!has_transport(packet)) return std::nullopt;
      return packet.l4_offset;
    default:
      return inner_offset(packet);
  }
}

bool write_payload(packet::Packet& packet, const PayloadField& field,
                   const PayloadChecksum& checksum, Bytes value) {
  if (field.base == NFT_PAYLOAD_LL_HEADER) return write_link_header(packet, field, value);
  const auto base = base_offset(packet, field.base);
  if (!base || *base + field.offset + field.length > readable_end(packet)) return false;
  std::uint8_t* const target = packet.frame() + *base + field.offset;
  const Bytes before(target, field.length);

  const bool is_partial = packet.checksum == packet::Checksum::partial;
  const bool is_network = field.base == NFT_PAYLOAD_NETWORK_HEADER;
  // An unfinished checksum is computed over whatever the transport header and payload hold when it
  // is sent.
  if (is_network || !is_partial) {
    const wire::Sum change = difference(before, value);
    if (checksum.type == NFT_PAYLOAD_CSUM_INET) {
      if (*base + checksum.offset + 2 > readable_end(packet)) return false;
      std::uint8_t* const at = packet.frame() + *base + checksum.offset;
      const bool has_none = field.base == NFT_PAYLOAD_TRANSPORT_HEADER &&
                            packet.l4_protocol == IPPROTO_UDP && load<Be16>(at).raw == 0;
      if (!has_none) update(at, change);
    }
    if (checksum.flags & NFT_PAYLOAD_L4CSUM_PSEUDOHDR) {
      if (const auto at = transport_checksum(packet)) {
        is_partial ? update_partial(packet.frame() + *at, change)
                   : update(packet.frame() + *at, change);
      }
    }
  }
  std::memcpy(target, value.data(), value.size());
  return true;
}

}  // namespace weir::rules
