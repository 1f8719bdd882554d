#include "wire/build.h"

#include "wire/checksum.h"
#include "wire/icmp.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/protocol.h"
#include "wire/udp.h"

namespace weir::wire {
namespace {

void append(ByteVector& to, const ByteVector& bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

/// Transport header and payload with a zero checksum; `checksum_at` is where it belongs, none when
/// npos.
constexpr std::size_t kNoChecksum = static_cast<std::size_t>(-1);

ByteVector transport(const FrameSpec& spec, std::size_t& checksum_at) {
  ByteVector bytes;
  checksum_at = kNoChecksum;
  switch (spec.protocol) {
    case protocol::kTcp: {
      bytes.resize(sizeof(Tcp));
      auto& tcp = at<Tcp>(bytes.data());
      tcp.set_src_port(Be16::from_host(spec.src_port));
      tcp.set_dst_port(Be16::from_host(spec.dst_port));
      tcp.set_sequence(spec.sequence);
      tcp.set_acknowledgment(spec.acknowledgment);
      tcp.set_header_bytes(sizeof(Tcp) + spec.tcp_options.size());
      tcp.set_flags(spec.tcp_flags);
      tcp.set_window(65535);
      append(bytes, spec.tcp_options);
      checksum_at = Tcp::kChecksumOffset;
      break;
    }
    case protocol::kUdp: {
      bytes.resize(sizeof(Udp));
      auto& udp = at<Udp>(bytes.data());
      udp.set_src_port(Be16::from_host(spec.src_port));
      udp.set_dst_port(Be16::from_host(spec.dst_port));
      udp.set_length(static_cast<std::uint16_t>(sizeof(Udp) + spec.payload.size()));
      checksum_at = Udp::kChecksumOffset;
      break;
    }
    case protocol::kIcmp:
    case protocol::kIcmpv6: {
      bytes.resize(sizeof(Icmp));
      auto& icmp = at<Icmp>(bytes.data());
      icmp.set_type(spec.icmp_type);
      icmp.set_code(spec.icmp_code);
      icmp.set_rest(Be32::from_host(spec.icmp_rest));
      checksum_at = Icmp::kChecksumOffset;
      break;
    }
    default:
      break;
  }
  append(bytes, spec.payload);
  return bytes;
}

ByteVector ip_header(const FrameSpec& spec, const FamilyAddress& src, const FamilyAddress& dst,
                     std::size_t l4_bytes) {
  ByteVector bytes;
  if (src.family == Family::ip) {
    bytes.resize(sizeof(Ipv4));
    append(bytes, spec.ip_options);
    auto& ip = at<Ipv4>(bytes.data());
    ip.set_version_and_header_bytes(bytes.size());
    ip.set_tos(spec.tos);
    ip.set_total_bytes(static_cast<std::uint16_t>(bytes.size() + l4_bytes));
    ip.set_id(Be16::from_host(spec.ip_id));
    ip.set_fragment_field(spec.has_df ? Ipv4::kDontFragment : 0);
    ip.set_ttl(spec.ttl);
    ip.set_protocol(spec.protocol);
    ip.set_src(src.address.v4());
    ip.set_dst(dst.address.v4());
    ip.fill_checksum();
    return bytes;
  }
  bytes.resize(sizeof(Ipv6));
  append(bytes, spec.ip_options);
  auto& ip = at<Ipv6>(bytes.data());
  ip.set_first_word(spec.tos, 0);
  ip.set_payload_bytes(static_cast<std::uint16_t>(spec.ip_options.size() + l4_bytes));
  ip.set_next_header(spec.ip_options.empty() ? spec.protocol : spec.first_header);
  ip.set_hop_limit(spec.ttl);
  ip.set_src(src.address);
  ip.set_dst(dst.address);
  return bytes;
}

}  // namespace

ByteVector build_frame(const FrameSpec& spec) {
  const FamilyAddress src = parse_address(spec.src).value();
  const FamilyAddress dst = parse_address(spec.dst).value();
  std::size_t checksum_at = kNoChecksum;
  ByteVector l4 = transport(spec, checksum_at);
  if (checksum_at != kNoChecksum) {
    Sum total = sum(l4);
    if (spec.protocol != protocol::kIcmp) {
      total += pseudo_header(src.family, src.address, dst.address, spec.protocol,
                             static_cast<std::uint32_t>(l4.size()));
    }
    Be16 checksum = finish(total);
    if (spec.protocol == protocol::kUdp) checksum = udp_nonzero(checksum);
    store(&l4[checksum_at], checksum);
  }

  ByteVector frame(sizeof(Ethernet));
  auto& ethernet = at<Ethernet>(frame.data());
  ethernet.set_dst(spec.dst_mac);
  ethernet.set_src(spec.src_mac);
  ethernet.set_type(ethertype_of(src.family));
  append(frame, ip_header(spec, src, dst, l4.size()));
  append(frame, l4);
  return frame;
}

ByteVector pattern(std::size_t count, std::uint8_t first) {
  ByteVector bytes(count);
  for (std::uint8_t& byte : bytes) byte = first++;
  return bytes;
}

}  // namespace weir::wire
