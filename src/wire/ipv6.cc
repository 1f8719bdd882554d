#include "wire/ipv6.h"

namespace weir::wire {

bool is_extension_header(std::uint8_t number) {
  switch (number) {
    case protocol::kHopByHop:
    case protocol::kRouting:
    case protocol::kFragment:
    case protocol::kAh:
    case protocol::kDestinationOptions:
      return true;
    default:
      return false;
  }
}

std::size_t extension_header_bytes(std::uint8_t number, std::uint8_t length_field) {
  if (number == protocol::kFragment) return sizeof(Ipv6Fragment);
  if (number == protocol::kAh) return (length_field + std::size_t{2}) * 4;  // RFC 4302 section 2.2.
  return (length_field + std::size_t{1}) * 8;
}

Ipv6Chain walk_chain(Bytes datagram) {
  Ipv6Chain chain;
  chain.protocol = at<Ipv6>(datagram.data()).next_header();
  chain.transport_offset = sizeof(Ipv6);
  chain.last_next_header = 6;

  for (unsigned count = 0; is_extension_header(chain.protocol); ++count) {
    const std::size_t here = chain.transport_offset;
    if (count == kMaxExtensionHeaders || here + 8 > datagram.size()) {
      chain.is_malformed = true;
      return chain;
    }
    const std::size_t bytes = extension_header_bytes(chain.protocol, datagram[here + 1]);
    if (chain.protocol == protocol::kFragment && !chain.has_fragment_header) {
      chain.has_fragment_header = true;
      chain.fragment_offset = chain.transport_offset;
      chain.fragment_previous = chain.last_next_header;
      if (at<Ipv6Fragment>(&datagram[here]).offset_bytes() != 0) chain.is_later_fragment = true;
    }
    chain.protocol = datagram[here];
    chain.last_next_header = chain.transport_offset;
    if (here + bytes > datagram.size()) {
      chain.is_malformed = true;
      return chain;
    }
    chain.transport_offset += static_cast<std::uint32_t>(bytes);
    if (chain.is_later_fragment) return chain;
  }
  return chain;
}

}  // namespace weir::wire
