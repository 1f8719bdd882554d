#include "packet/segment.h"

#include <algorithm>
#include <cstring>

#include "wire/checksum.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"
#include "wire/protocol.h"
#include "wire/tcp.h"
#include "wire/udp.h"

namespace weir::packet {
namespace {

/// Bytes of the transport header that every segment repeats; zero when it isn't what the GSO type
/// says.
std::size_t transport_header_bytes(const Packet& packet) {
  const Bytes l4 = packet.l4();
  switch (packet.gso.type) {
    case Gso::Type::tcp4:
    case Gso::Type::tcp6: {
      const auto* const tcp = wire::view<wire::Tcp>(l4);
      const bool family_agrees =
          (packet.gso.type == Gso::Type::tcp4) == (packet.family == wire::Family::ip);
      if (tcp == nullptr || !family_agrees || packet.l4_protocol != wire::protocol::kTcp) return 0;
      const std::size_t bytes = tcp->header_bytes();
      return bytes >= sizeof(wire::Tcp) && bytes < l4.size() ? bytes : 0;
    }
    case Gso::Type::udp:
      return packet.l4_protocol == wire::protocol::kUdp && l4.size() > sizeof(wire::Udp)
                 ? sizeof(wire::Udp)
                 : 0;
    case Gso::Type::none:
      break;
  }
  return 0;
}

}  // namespace

Segmenter::Segmenter(const Packet& big) : big_(big) {
  if (big.family == wire::Family::none || big.is_fragment || big.gso.segment_bytes == 0) return;
  const std::size_t transport = transport_header_bytes(big);
  if (transport == 0) return;
  header_bytes_ = big.l4_offset + transport;
  payload_bytes_ = big.l4().size() - transport;
  is_valid_ = true;
}

std::size_t Segmenter::segment_count() const {
  return is_valid_ ? (payload_bytes_ + big_.gso.segment_bytes - 1) / big_.gso.segment_bytes : 0;
}

Packet* Segmenter::next(Pool& pool) {
  const std::size_t payload =
      std::min<std::size_t>(big_.gso.segment_bytes, payload_bytes_ - done_bytes_);
  const std::size_t frame_bytes = header_bytes_ + payload;
  Packet* const segment = pool.take(static_cast<std::uint32_t>(frame_bytes));
  if (segment == nullptr) return nullptr;

  segment->length = static_cast<std::uint32_t>(frame_bytes);
  segment->take_metadata(big_);
  segment->gso = {};
  segment->fragment_count = 0;
  segment->fragment_max_bytes = 0;
  segment->ip_length = static_cast<std::uint32_t>(frame_bytes - big_.l3_offset);
  std::memcpy(segment->frame(), big_.frame(), header_bytes_);
  std::memcpy(segment->frame() + header_bytes_, big_.frame() + header_bytes_ + done_bytes_,
              payload);
  finish_headers(*segment, payload);

  done_bytes_ += payload;
  ++index_;
  return segment;
}

void Segmenter::finish_headers(Packet& segment, std::size_t payload_bytes) const {
  std::uint8_t* const l3 = segment.frame() + segment.l3_offset;
  std::uint8_t* const l4 = segment.frame() + segment.l4_offset;
  if (segment.family == wire::Family::ip) {
    auto& ip = wire::at<wire::Ipv4>(l3);
    ip.set_total_bytes(static_cast<std::uint16_t>(segment.ip_length));
    ip.set_id(Be16::from_host(static_cast<std::uint16_t>(ip.id().host() + index_)));
    ip.fill_checksum();
  } else {
    wire::at<wire::Ipv6>(l3).set_payload_bytes(
        static_cast<std::uint16_t>(segment.ip_length - sizeof(wire::Ipv6)));
  }

  const std::size_t l4_bytes = segment.l4().size();
  std::size_t checksum_at = wire::Tcp::kChecksumOffset;
  if (segment.l4_protocol == wire::protocol::kTcp) {
    auto& tcp = wire::at<wire::Tcp>(l4);
    tcp.set_sequence(static_cast<std::uint32_t>(tcp.sequence() + done_bytes_));
    const bool is_last = done_bytes_ + payload_bytes == payload_bytes_;
    std::uint8_t flags = tcp.flags();
    if (!is_last) flags &= static_cast<std::uint8_t>(~(wire::Tcp::kFin | wire::Tcp::kPsh));
    if (index_ != 0) flags &= static_cast<std::uint8_t>(~wire::Tcp::kCwr);
    tcp.set_flags(flags);
  } else {
    checksum_at = wire::Udp::kChecksumOffset;
    wire::at<wire::Udp>(l4).set_length(static_cast<std::uint16_t>(l4_bytes));
  }

  store(l4 + checksum_at, Be16{0});
  const wire::Sum total =
      wire::sum(segment.l4()) + wire::pseudo_header(segment.family, l3, segment.l4_protocol,
                                                    static_cast<std::uint32_t>(l4_bytes));
  store(l4 + checksum_at, wire::udp_nonzero(wire::finish(total)));
  segment.checksum = Checksum::verified;
}

}  // namespace weir::packet
