#include "tests/scenarios/engine_settings.h"

#include <fmt/format.h>

#include <array>
#include <string>
#include <string_view>

namespace weir::test {

namespace {

using conntrack::TcpPhase;

constexpr std::string_view kConntrack = "net.netfilter.nf_conntrack_";

Duration* find_timeout(engine::Options& options, std::string_view name) {
  conntrack::Timeouts& timeouts = options.conntrack.timeouts;
  if (name == "udp_timeout") return &timeouts.udp.unreplied;
  if (name == "udp_timeout_stream") return &timeouts.udp.stream;
  if (name == "icmp_timeout") return &timeouts.icmp;
  if (name == "icmpv6_timeout") return &timeouts.icmpv6;
  if (name == "generic_timeout") return &timeouts.generic;
  if (name == "frag6_timeout") return &options.fragments.ip6_timeout;
  return nullptr;
}

bool* find_switch(engine::Options& options, std::string_view name) {
  conntrack::TcpSettings& tcp = options.conntrack.timeouts.tcp;
  if (name == "tcp_loose") return &tcp.loose;
  if (name == "tcp_be_liberal") return &tcp.be_liberal;
  if (name == "tcp_ignore_invalid_rst") return &tcp.ignore_invalid_rst;
  if (name == "checksum") return &options.conntrack.verify_checksums;
  return nullptr;
}

}  // namespace

Result<void> apply_sysctls(const Network& network, engine::Options& options) {
  for (const auto& [name, value] : network.sysctls) {
    if (name.starts_with("net.ipv4.conf.") || name.starts_with("net.ipv6.conf.")) continue;
    const Duration seconds = std::chrono::seconds(std::stol(value));
    if (name == "net.ipv4.ipfrag_time") {
      options.fragments.ip_timeout = seconds;
      continue;
    }
    const std::string_view rest =
        name.starts_with(kConntrack) ? std::string_view(name).substr(kConntrack.size()) : "";
    if (Duration* const timeout = find_timeout(options, rest)) {
      *timeout = seconds;
    } else if (bool* const is_on = find_switch(options, rest)) {
      *is_on = value != "0";
    } else {
      return std::unexpected(Error{ENOTSUP, fmt::format("the engine has no setting for {}", name)});
    }
  }
  return {};
}

}  // namespace weir::test
