#include "rules/expr/log_text.h"

#include <fmt/format.h>
#include <linux/netfilter/nf_log.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>

#include <algorithm>
#include <iterator>

#include "routing/database.h"

namespace weir::rules {
namespace {

/// Appends to a fixed space and drops what doesn't fit.
class Text {
 public:
  explicit Text(std::span<char> space) : space_(space) {}

  template <typename... Values>
  void add(fmt::format_string<Values...> format, Values&&... values) {
    const std::size_t room = space_.size() - used_;
    const auto written =
        fmt::format_to_n(space_.data() + used_, room, format, std::forward<Values>(values)...);
    used_ += std::min(room, written.size);
  }
  std::string_view text() const { return {space_.data(), used_}; }

 private:
  std::span<char> space_;
  std::size_t used_ = 0;
};

std::uint16_t u16(Bytes at, std::size_t offset) { return load<Be16>(at.data() + offset).host(); }
std::uint32_t u32(Bytes at, std::size_t offset) { return load<Be32>(at.data() + offset).host(); }

void add_ip(Text& text, Bytes a) { text.add("{}.{}.{}.{}", a[0], a[1], a[2], a[3]); }

/// All eight groups with their zeroes, as the kernel logs them.
void add_ip6(Text& text, Bytes address) {
  for (std::size_t i = 0; i < 16; i += 2) text.add("{}{:04x}", i == 0 ? "" : ":", u16(address, i));
}

void add_hex(Text& text, Bytes bytes) {
  for (const std::uint8_t byte : bytes) text.add("{:02X}", byte);
}

/// True when `bytes` are there; else says how many are.
bool is_there(Text& text, Bytes packet, std::size_t bytes) {
  if (packet.size() >= bytes) return true;
  text.add("INCOMPLETE [{} bytes] ", packet.size());
  return false;
}

void add_tcp(Text& text, Bytes tcp, std::uint32_t flags) {
  text.add("PROTO=TCP ");
  if (!is_there(text, tcp, 20)) return;
  text.add("SPT={} DPT={} ", u16(tcp, 0), u16(tcp, 2));
  if ((flags & NF_LOG_TCPSEQ) != 0) text.add("SEQ={} ACK={} ", u32(tcp, 4), u32(tcp, 8));
  text.add("WINDOW={} RES=0x{:02x} ", u16(tcp, 14), (tcp[12] & 0x0f) << 2);
  static constexpr struct {
    std::uint8_t bit;
    std::string_view name;
  } kFlags[] = {{0x80, "CWR "}, {0x40, "ECE "}, {0x20, "URG "}, {0x10, "ACK "},
                {0x08, "PSH "}, {0x04, "RST "}, {0x02, "SYN "}, {0x01, "FIN "}};
  for (const auto& flag : kFlags)
    if ((tcp[13] & flag.bit) != 0) text.add("{}", flag.name);
  text.add("URGP={} ", u16(tcp, 18));

  const std::size_t header = static_cast<std::size_t>(tcp[12] >> 4) * 4;
  if ((flags & NF_LOG_TCPOPT) == 0 || header <= 20) return;
  if (tcp.size() < header) return text.add("TRUNCATED");
  text.add("OPT (");
  add_hex(text, tcp.subspan(20, header - 20));
  text.add(") ");
}

void add_udp(Text& text, Bytes udp, bool is_lite) {
  text.add("{}", is_lite ? "PROTO=UDPLITE " : "PROTO=UDP ");
  if (is_there(text, udp, 8))
    text.add("SPT={} DPT={} LEN={} ", u16(udp, 0), u16(udp, 2), u16(udp, 4));
}

/// The transport header, where both families log it alike. False for other protocols.
bool add_transport(Text& text, std::uint8_t protocol, Bytes header, std::uint32_t flags) {
  switch (protocol) {
    case IPPROTO_TCP:
      add_tcp(text, header, flags);
      return true;
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
      add_udp(text, header, protocol == IPPROTO_UDPLITE);
      return true;
    case IPPROTO_AH:
      text.add("PROTO=AH ");
      if (is_there(text, header, 12)) text.add("SPI=0x{:x} ", u32(header, 4));
      return true;
    case IPPROTO_ESP:
      text.add("PROTO=ESP ");
      if (is_there(text, header, 8)) text.add("SPI=0x{:x} ", u32(header, 0));
      return true;
    default:
      return false;
  }
}

/// How deep in quoted packets we are: errors quote one packet, whose own quote isn't shown.
enum class Level : std::uint8_t { outer, quoted };

void add_packet(Text& text, Bytes packet, std::uint32_t flags, Level level);

void add_quoted(Text& text, Bytes icmp, std::uint32_t flags, Level level) {
  if (level != Level::outer) return;
  text.add("[");
  add_packet(text, icmp.subspan(8), flags, Level::quoted);
  text.add("] ");
}

void add_icmp(Text& text, Bytes icmp, std::uint32_t flags, Level level) {
  text.add("PROTO=ICMP ");
  if (!is_there(text, icmp, 8)) return;
  text.add("TYPE={} CODE={} ", icmp[0], icmp[1]);
  switch (icmp[0]) {
    case ICMP_ECHO:
    case ICMP_ECHOREPLY:
      return text.add("ID={} SEQ={} ", u16(icmp, 4), u16(icmp, 6));
    case ICMP_PARAMETERPROB:
      return text.add("PARAMETER={} ", u32(icmp, 4) >> 24);
    case ICMP_REDIRECT:
      text.add("GATEWAY=");
      add_ip(text, icmp.subspan(4, 4));
      text.add(" ");
      return add_quoted(text, icmp, flags, level);
    case ICMP_DEST_UNREACH:
    case ICMP_SOURCE_QUENCH:
    case ICMP_TIME_EXCEEDED:
      add_quoted(text, icmp, flags, level);
      if (icmp[0] == ICMP_DEST_UNREACH && icmp[1] == ICMP_FRAG_NEEDED)
        text.add("MTU={} ", u16(icmp, 6));
      return;
    default:
      return;
  }
}

void add_icmp6(Text& text, Bytes icmp, std::uint32_t flags, Level level) {
  text.add("PROTO=ICMPv6 ");
  if (!is_there(text, icmp, 8)) return;
  text.add("TYPE={} CODE={} ", icmp[0], icmp[1]);
  switch (icmp[0]) {
    case ICMP6_ECHO_REQUEST:
    case ICMP6_ECHO_REPLY:
      return text.add("ID={} SEQ={} ", u16(icmp, 4), u16(icmp, 6));
    case ICMP6_PARAM_PROB:
      text.add("POINTER={:08x} ", u32(icmp, 4));
      [[fallthrough]];
    case ICMP6_DST_UNREACH:
    case ICMP6_PACKET_TOO_BIG:
    case ICMP6_TIME_EXCEEDED:
      add_quoted(text, icmp, flags, level);
      if (icmp[0] == ICMP6_PACKET_TOO_BIG) text.add("MTU={} ", u32(icmp, 4));
      return;
    default:
      return;
  }
}

void add_ip_packet(Text& text, Bytes packet, std::uint32_t flags, Level level) {
  if (packet.size() < 20) return text.add("TRUNCATED");
  text.add("SRC=");
  add_ip(text, packet.subspan(12, 4));
  text.add(" DST=");
  add_ip(text, packet.subspan(16, 4));
  text.add(" LEN={} TOS=0x{:02X} PREC=0x{:02X} TTL={} ID={} ", u16(packet, 2), packet[1] & 0x1e,
           packet[1] & 0xe0, packet[8], u16(packet, 4));
  const std::uint16_t fragment = u16(packet, 6);
  if ((fragment & 0x8000) != 0) text.add("CE ");
  if ((fragment & 0x4000) != 0) text.add("DF ");
  if ((fragment & 0x2000) != 0) text.add("MF ");
  if ((fragment & 0x1fff) != 0) text.add("FRAG:{} ", fragment & 0x1fff);

  const std::size_t header = static_cast<std::size_t>(packet[0] & 0x0f) * 4;
  if (header < 20 || packet.size() < header) return text.add("TRUNCATED");
  if ((flags & NF_LOG_IPOPT) != 0 && header > 20) {
    text.add("OPT (");
    add_hex(text, packet.subspan(20, header - 20));
    text.add(") ");
  }
  const std::uint8_t protocol = packet[9];
  const Bytes transport = packet.subspan(header);
  if ((fragment & 0x1fff) != 0) return text.add("PROTO={} ", protocol);
  if (protocol == IPPROTO_ICMP) return add_icmp(text, transport, flags, level);
  if (!add_transport(text, protocol, transport, flags)) text.add("PROTO={} ", protocol);
}

/// An IPv6 extension header that another header follows, by its number.
bool is_extension(std::uint8_t protocol) {
  return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING ||
         protocol == IPPROTO_DSTOPTS || protocol == IPPROTO_FRAGMENT;
}

void add_ip6_packet(Text& text, Bytes packet, std::uint32_t flags, Level level) {
  if (packet.size() < 40) return text.add("TRUNCATED");
  text.add("SRC=");
  add_ip6(text, packet.subspan(8, 16));
  text.add(" DST=");
  add_ip6(text, packet.subspan(24, 16));
  text.add(" LEN={} TC={} HOPLIMIT={} FLOWLBL={} ", u16(packet, 4) + 40,
           (packet[0] & 0x0f) << 4 | packet[1] >> 4, packet[7], u32(packet, 0) & 0xfffff);

  std::uint8_t protocol = packet[6];
  Bytes rest = packet.subspan(40);
  while (is_extension(protocol) && rest.size() >= 8) {
    std::size_t bytes = (rest[1] + std::size_t{1}) * 8;
    if (protocol == IPPROTO_FRAGMENT) {
      bytes = 8;
      const std::uint16_t field = u16(rest, 2);
      text.add("FRAG:{} {}ID:{:08x} ", field & 0xfff8, (field & 1) != 0 ? "INCOMPLETE " : "",
               u32(rest, 4));
      if ((field & 0xfff8) != 0) return;
    } else if ((flags & NF_LOG_IPOPT) != 0) {
      text.add("OPT ( ) ");
    }
    protocol = rest[0];
    rest = rest.subspan(std::min(bytes, rest.size()));
  }
  if (protocol == IPPROTO_ICMPV6) return add_icmp6(text, rest, flags, level);
  if (!add_transport(text, protocol, rest, flags)) text.add("PROTO={} ", protocol);
}

void add_packet(Text& text, Bytes packet, std::uint32_t flags, Level level) {
  const bool is_ip6 = !packet.empty() && packet[0] >> 4 == 6;
  is_ip6 ? add_ip6_packet(text, packet, flags, level) : add_ip_packet(text, packet, flags, level);
}

std::string_view name_of_link(const Context& context, std::uint32_t ifindex) {
  if (ifindex == 0 || context.services->routing == nullptr) return {};
  const routing::Link* const link = context.services->routing->view().link(ifindex);
  return link == nullptr ? std::string_view{} : std::string_view(link->name);
}

void add_mac(Text& text, const packet::Packet& packet, std::uint32_t flags) {
  const Bytes frame = packet.bytes();
  if (frame.size() < 14) return;
  const auto join = [&](Bytes bytes) {
    for (std::size_t i = 0; i < bytes.size(); ++i)
      text.add("{}{:02x}", i == 0 ? "" : ":", bytes[i]);
  };
  if ((flags & NF_LOG_MACDECODE) == 0) {
    text.add("MAC=");
    join(frame.first(14));
    return text.add(" ");
  }
  text.add("MACSRC=");
  join(frame.subspan(6, 6));
  text.add(" MACDST=");
  join(frame.first(6));
  text.add(" MACPROTO={:04x} ", u16(frame, 12));
}

}  // namespace

std::string_view log_line(const Context& context, std::string_view prefix, std::uint32_t flags,
                          std::span<char> space) {
  const packet::Packet& packet = *context.packet;
  Text text(space);
  const std::uint32_t in = context.in_ifindex();
  text.add("{}IN={} OUT={} ", prefix, name_of_link(context, in),
           name_of_link(context, context.out_ifindex()));
  if (in != 0) add_mac(text, packet, flags);
  if (packet.family == wire::Family::none) return text.text();
  add_packet(text, packet.l3(), flags, Level::outer);
  if (packet.mark != 0) text.add("MARK=0x{:x} ", packet.mark);
  return text.text();
}

}  // namespace weir::rules
