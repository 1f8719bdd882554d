#include "tools/conntrack/names.h"

#include <netdb.h>
#include <netinet/in.h>

#include <array>
#include <charconv>

namespace weir::tools::conntrack {
namespace {

struct Protocol {
  std::uint8_t number;
  std::string_view name;
};

constexpr Protocol kProtocols[] = {
    {IPPROTO_TCP, "tcp"},   {IPPROTO_UDP, "udp"},       {IPPROTO_UDPLITE, "udplite"},
    {IPPROTO_ICMP, "icmp"}, {IPPROTO_ICMPV6, "icmpv6"}, {IPPROTO_SCTP, "sctp"},
    {IPPROTO_DCCP, "dccp"}, {IPPROTO_GRE, "gre"},
};

constexpr std::string_view kTcpStates[] = {"NONE",     "SYN_SENT",   "SYN_RECV", "ESTABLISHED",
                                           "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT",
                                           "CLOSE",    "SYN_SENT2"};
constexpr std::string_view kSctpStates[] = {
    "NONE",          "CLOSED",        "COOKIE_WAIT",       "COOKIE_ECHOED",  "ESTABLISHED",
    "SHUTDOWN_SENT", "SHUTDOWN_RECD", "SHUTDOWN_ACK_SENT", "HEARTBEAT_SENT", "HEARTBEAT_ACKED"};
constexpr std::string_view kDccpStates[] = {"NONE",   "REQUEST",  "RESPOND", "PARTOPEN",
                                            "OPEN",   "CLOSEREQ", "CLOSING", "TIMEWAIT",
                                            "IGNORE", "INVALID"};
constexpr std::string_view kDccpRoles[] = {"client", "server"};

}  // namespace

std::string_view protocol_name(std::uint8_t protocol) {
  for (const Protocol& known : kProtocols) {
    if (known.number == protocol) return known.name;
  }
  return "unknown";
}

std::optional<std::uint8_t> protocol_number(const std::string& name) {
  for (const Protocol& known : kProtocols) {
    if (known.name == name) return known.number;
  }
  unsigned number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error == std::errc{} && end == name.data() + name.size() && number <= 255)
    return static_cast<std::uint8_t>(number);
  if (const protoent* const entry = getprotobyname(name.c_str()))
    return static_cast<std::uint8_t>(entry->p_proto);
  return {};
}

std::string_view family_name(std::uint8_t family) {
  return family == AF_INET ? "ipv4" : family == AF_INET6 ? "ipv6" : "unknown";
}

std::span<const std::string_view> tcp_states() { return kTcpStates; }
std::span<const std::string_view> sctp_states() { return kSctpStates; }
std::span<const std::string_view> dccp_states() { return kDccpStates; }
std::span<const std::string_view> dccp_roles() { return kDccpRoles; }

std::string_view name_in(std::span<const std::string_view> names, std::uint8_t number) {
  return number < names.size() ? names[number] : names.front();
}

std::optional<std::uint8_t> number_in(std::span<const std::string_view> names,
                                      std::string_view name) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (names[i] == name) return static_cast<std::uint8_t>(i);
  }
  return {};
}

}  // namespace weir::tools::conntrack
