#include "conntrack/proto/tcp.h"
#include "wire/tcp.h"

namespace weir::conntrack {
namespace {

/// All combinations of SYN, FIN, RST, ACK and URG that a TCP sends; PSH, ECE and CWR go with any.
bool can_stand_together(std::uint8_t flags) {
  constexpr std::uint8_t kSyn = TcpSegment::kSyn, kFin = TcpSegment::kFin, kRst = TcpSegment::kRst,
                         kAck = TcpSegment::kAck, kUrg = TcpSegment::kUrg;
  switch (flags & (kSyn | kFin | kRst | kAck | kUrg)) {
    case kSyn:
    case kSyn | kUrg:
    case kSyn | kAck:
    case kRst:
    case kRst | kAck:
    case kFin | kAck:
    case kFin | kAck | kUrg:
    case kAck:
    case kAck | kUrg:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::expected<TcpSegment, Reason> TcpSegment::read(Bytes l4) {
  const wire::Tcp* const header = wire::view<wire::Tcp>(l4);
  if (header == nullptr) return std::unexpected(Reason::truncated);
  const std::size_t header_bytes = header->header_bytes();
  if (header_bytes < sizeof(wire::Tcp) || header_bytes > l4.size()) {
    return std::unexpected(Reason::truncated);
  }
  if (!can_stand_together(header->flags())) return std::unexpected(Reason::tcp_flags);
  return TcpSegment{
      .seq = header->sequence(),
      .ack = header->acknowledgment(),
      .window = header->window(),
      .flags = header->flags(),
      .payload_bytes = static_cast<std::uint32_t>(l4.size() - header_bytes),
      .options = l4.subspan(sizeof(wire::Tcp), header_bytes - sizeof(wire::Tcp)),
  };
}

}  // namespace weir::conntrack
