#include "replay/packet_text.h"

#include <fmt/format.h>

#include "conntrack/extract.h"
#include "conntrack/proto/step.h"
#include "replay/packet_ends.h"
#include "wire/ethernet.h"
#include "wire/icmp.h"
#include "wire/protocol.h"
#include "wire/tcp.h"

namespace weir::replay {
namespace {

using packet::CtInfo;
using packet::CtState;
using packet::Packet;
using wire::Family;

bool is_icmp(std::uint8_t protocol) {
  return protocol == wire::protocol::kIcmp || protocol == wire::protocol::kIcmpv6;
}

bool has_ports(std::uint8_t protocol) {
  namespace p = wire::protocol;
  return protocol == p::kTcp || protocol == p::kUdp || protocol == p::kUdplite ||
         protocol == p::kSctp || protocol == p::kDccp;
}

std::string address_text(const wire::Address& address, Family family, bool has_port) {
  const std::string text = wire::to_string(address, family);
  return has_port && family == Family::ip6 ? "[" + text + "]" : text;
}

/// As tcpdump writes them: S, F, R, P, U, and a dot for ACK.
std::string flags_text(std::uint8_t flags) {
  constexpr std::pair<std::uint8_t, char> kLetters[] = {
      {wire::Tcp::kSyn, 'S'}, {wire::Tcp::kFin, 'F'}, {wire::Tcp::kRst, 'R'},
      {wire::Tcp::kPsh, 'P'}, {wire::Tcp::kUrg, 'U'}, {wire::Tcp::kAck, '.'}};
  std::string text;
  for (const auto& [flag, letter] : kLetters) {
    if ((flags & flag) != 0) text += letter;
  }
  return text.empty() ? "none" : text;
}

std::string details_text(const Packet& packet) {
  if (packet.is_later_fragment) return "piece ";
  const std::string piece = packet.is_fragment ? "first piece " : "";
  if (packet.l4_protocol == wire::protocol::kTcp) {
    const auto* const tcp = wire::view<wire::Tcp>(packet.l4());
    return tcp == nullptr ? piece : fmt::format("{}[{}] ", piece, flags_text(tcp->flags()));
  }
  if (is_icmp(packet.l4_protocol) && packet.l4().size() >= 2) {
    return fmt::format("{}type {} code {} ", piece, packet.l4()[0], packet.l4()[1]);
  }
  return piece;
}

}  // namespace

std::string protocol_text(std::uint8_t protocol) {
  const std::string_view name = wire::protocol_name(protocol);
  return name == "unknown" ? std::to_string(protocol) : std::string(name);
}

std::string tuple_text(const conntrack::Tuple& tuple) {
  const std::string src = address_text(tuple.src, tuple.family, has_ports(tuple.protocol));
  const std::string dst = address_text(tuple.dst, tuple.family, has_ports(tuple.protocol));
  if (has_ports(tuple.protocol))
    return fmt::format("{}:{} > {}:{}", src, tuple.src_port.host(), dst, tuple.dst_port.host());
  if (is_icmp(tuple.protocol)) return fmt::format("{} > {} id {}", src, dst, tuple.src_port.host());
  return fmt::format("{} > {}", src, dst);
}

std::string ends_text(const Packet& packet) {
  if (packet.family == Family::none) return {};
  conntrack::Tuple tuple;
  const bool is_error = is_icmp(packet.l4_protocol) && !packet.is_later_fragment &&
                        !packet.l4().empty() &&
                        (packet.family == Family::ip ? wire::icmp::is_error(packet.l4()[0])
                                                     : wire::icmpv6::is_error(packet.l4()[0]));
  if (!is_error && conntrack::read_tuple(packet.family, packet.l3(), tuple))
    return tuple_text(tuple);
  return tuple_text({.src = source_of(packet),
                     .dst = destination_of(packet),
                     .src_port = {},
                     .dst_port = {},
                     .family = packet.family});
}

std::string packet_text(const Packet& packet) {
  if (packet.family == Family::none) {
    if (packet.length < sizeof(wire::Ethernet))
      return fmt::format("a frame of {} bytes", packet.length);
    const Be16 type = wire::at<wire::Ethernet>(packet.frame()).type();
    if (type == wire::ethertype::kIpv4)
      return fmt::format("IPv4 {} bytes", packet.length - sizeof(wire::Ethernet));
    if (type == wire::ethertype::kIpv6)
      return fmt::format("IPv6 {} bytes", packet.length - sizeof(wire::Ethernet));
    return fmt::format("ethertype 0x{:04x}", type.host());
  }
  return fmt::format("{} {} {}{} bytes", protocol_text(packet.l4_protocol), ends_text(packet),
                     details_text(packet), packet.ip_length);
}

std::string ct_text(const packet::CtRef& ct) {
  const auto reason = static_cast<conntrack::Reason>(ct.reason);
  const std::string why = reason == conntrack::Reason::none
                              ? ""
                              : fmt::format(" ({})", conntrack::kReasonTexts[ct.reason]);
  switch (ct.state) {
    case CtState::not_tracked_yet:
      return {};
    case CtState::untracked:
      return "UNTRACKED";
    case CtState::invalid:
      return "INVALID" + why;
    case CtState::tracked:
      break;
  }
  switch (ct.info) {
    case CtInfo::established:
      return "ESTABLISHED" + why;
    case CtInfo::established_reply:
      return "ESTABLISHED reply" + why;
    case CtInfo::related:
      return "RELATED" + why;
    case CtInfo::related_reply:
      return "RELATED reply" + why;
    default:
      return "NEW" + why;
  }
}

}  // namespace weir::replay
