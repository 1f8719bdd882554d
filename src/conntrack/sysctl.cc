#include "conntrack/sysctl.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <limits>
#include <optional>

namespace weir::conntrack {
namespace {

constexpr std::string_view kPrefix = "net.netfilter.nf_conntrack_";
constexpr std::string_view kShortPrefix = "nf_conntrack_";

constexpr std::uint32_t kIntMax = std::numeric_limits<std::int32_t>::max();
// The kernel counts a timeout in ticks, 250 to 1000 a second, in an int.
constexpr std::uint32_t kMostSeconds = kIntMax / 250;
constexpr std::uint32_t kMostByte = 255;
constexpr std::uint32_t kMostThreshold = 4194304;  // What reassembly has (fragments/).

template <TimeoutList Sysctl::*list, std::size_t number>
Knob& in_list(Sysctl& sysctl) {
  return (sysctl.*list).at(number);
}

template <Knob Sysctl::*knob>
Knob& plain(Sysctl& sysctl) {
  return sysctl.*knob;
}

template <Knob TcpKnobs::*knob>
Knob& of_tcp(Sysctl& sysctl) {
  return sysctl.tcp_knobs.*knob;
}

template <TimeoutList Sysctl::*list, std::size_t number>
constexpr SysctlName timeout_named(std::string_view name) {
  return {.name = name, .knob = in_list<list, number>, .most = kMostSeconds};
}

constexpr SysctlName kNames[] = {
    {"net.ipv4.ipfrag_high_thresh", plain<&Sysctl::ipfrag_high_thresh>, 0, kMostThreshold},
    {"net.ipv4.ipfrag_low_thresh", plain<&Sysctl::ipfrag_low_thresh>, 0, kIntMax},
    {"net.ipv4.ipfrag_time", plain<&Sysctl::ipfrag_time>, 0, kMostSeconds},
    {"net.netfilter.nf_conntrack_acct", plain<&Sysctl::acct>, 0, 1},
    {"net.netfilter.nf_conntrack_buckets", plain<&Sysctl::buckets>, 0, kIntMax, true},
    {"net.netfilter.nf_conntrack_checksum", plain<&Sysctl::checksum>, 0, 1},
    {"net.netfilter.nf_conntrack_count", plain<&Sysctl::count>, 0, kIntMax, true},
    timeout_named<&Sysctl::dccp, 5>("net.netfilter.nf_conntrack_dccp_timeout_closereq"),
    timeout_named<&Sysctl::dccp, 6>("net.netfilter.nf_conntrack_dccp_timeout_closing"),
    timeout_named<&Sysctl::dccp, 4>("net.netfilter.nf_conntrack_dccp_timeout_open"),
    timeout_named<&Sysctl::dccp, 3>("net.netfilter.nf_conntrack_dccp_timeout_partopen"),
    timeout_named<&Sysctl::dccp, 1>("net.netfilter.nf_conntrack_dccp_timeout_request"),
    timeout_named<&Sysctl::dccp, 2>("net.netfilter.nf_conntrack_dccp_timeout_respond"),
    timeout_named<&Sysctl::dccp, 7>("net.netfilter.nf_conntrack_dccp_timeout_timewait"),
    {"net.netfilter.nf_conntrack_events", plain<&Sysctl::events>, 0, 2},
    {"net.netfilter.nf_conntrack_expect_max", plain<&Sysctl::expect_max>, 1, kIntMax},
    {"net.netfilter.nf_conntrack_frag6_high_thresh", plain<&Sysctl::frag6_high_thresh>, 0,
     kMostThreshold},
    {"net.netfilter.nf_conntrack_frag6_low_thresh", plain<&Sysctl::frag6_low_thresh>, 0, kIntMax},
    {"net.netfilter.nf_conntrack_frag6_timeout", plain<&Sysctl::frag6_timeout>, 0, kMostSeconds},
    timeout_named<&Sysctl::generic, 1>("net.netfilter.nf_conntrack_generic_timeout"),
    timeout_named<&Sysctl::gre, 1>("net.netfilter.nf_conntrack_gre_timeout"),
    timeout_named<&Sysctl::gre, 2>("net.netfilter.nf_conntrack_gre_timeout_stream"),
    timeout_named<&Sysctl::icmp, 1>("net.netfilter.nf_conntrack_icmp_timeout"),
    timeout_named<&Sysctl::icmpv6, 1>("net.netfilter.nf_conntrack_icmpv6_timeout"),
    {"net.netfilter.nf_conntrack_log_invalid", plain<&Sysctl::log_invalid>, 0, kMostByte},
    {"net.netfilter.nf_conntrack_max", plain<&Sysctl::max>, 0, kIntMax},
    timeout_named<&Sysctl::sctp, 1>("net.netfilter.nf_conntrack_sctp_timeout_closed"),
    timeout_named<&Sysctl::sctp, 3>("net.netfilter.nf_conntrack_sctp_timeout_cookie_echoed"),
    timeout_named<&Sysctl::sctp, 2>("net.netfilter.nf_conntrack_sctp_timeout_cookie_wait"),
    timeout_named<&Sysctl::sctp, 4>("net.netfilter.nf_conntrack_sctp_timeout_established"),
    timeout_named<&Sysctl::sctp, 8>("net.netfilter.nf_conntrack_sctp_timeout_heartbeat_sent"),
    timeout_named<&Sysctl::sctp, 7>("net.netfilter.nf_conntrack_sctp_timeout_shutdown_ack_sent"),
    timeout_named<&Sysctl::sctp, 6>("net.netfilter.nf_conntrack_sctp_timeout_shutdown_recd"),
    timeout_named<&Sysctl::sctp, 5>("net.netfilter.nf_conntrack_sctp_timeout_shutdown_sent"),
    {"net.netfilter.nf_conntrack_tcp_be_liberal", of_tcp<&TcpKnobs::be_liberal>, 0, 1},
    {"net.netfilter.nf_conntrack_tcp_ignore_invalid_rst", of_tcp<&TcpKnobs::ignore_invalid_rst>, 0,
     1},
    {"net.netfilter.nf_conntrack_tcp_loose", of_tcp<&TcpKnobs::loose>, 0, 1},
    {"net.netfilter.nf_conntrack_tcp_max_retrans", of_tcp<&TcpKnobs::max_retrans>, 0, kMostByte},
    timeout_named<&Sysctl::tcp, 8>("net.netfilter.nf_conntrack_tcp_timeout_close"),
    timeout_named<&Sysctl::tcp, 5>("net.netfilter.nf_conntrack_tcp_timeout_close_wait"),
    timeout_named<&Sysctl::tcp, 3>("net.netfilter.nf_conntrack_tcp_timeout_established"),
    timeout_named<&Sysctl::tcp, 4>("net.netfilter.nf_conntrack_tcp_timeout_fin_wait"),
    timeout_named<&Sysctl::tcp, 6>("net.netfilter.nf_conntrack_tcp_timeout_last_ack"),
    timeout_named<&Sysctl::tcp, 10>("net.netfilter.nf_conntrack_tcp_timeout_max_retrans"),
    timeout_named<&Sysctl::tcp, 2>("net.netfilter.nf_conntrack_tcp_timeout_syn_recv"),
    timeout_named<&Sysctl::tcp, 1>("net.netfilter.nf_conntrack_tcp_timeout_syn_sent"),
    timeout_named<&Sysctl::tcp, 7>("net.netfilter.nf_conntrack_tcp_timeout_time_wait"),
    timeout_named<&Sysctl::tcp, 11>("net.netfilter.nf_conntrack_tcp_timeout_unacknowledged"),
    {"net.netfilter.nf_conntrack_timestamp", plain<&Sysctl::timestamp>, 0, 1},
    timeout_named<&Sysctl::udp, 1>("net.netfilter.nf_conntrack_udp_timeout"),
    timeout_named<&Sysctl::udp, 2>("net.netfilter.nf_conntrack_udp_timeout_stream"),
};

/// As strtoul with base 0 reads it, the whole of it; nothing when it isn't a number.
std::optional<std::uint64_t> read_number(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x") || text.starts_with("0X")) {
    base = 16;
    text.remove_prefix(2);
  } else if (text.size() > 1 && text.front() == '0') {
    base = 8;
    text.remove_prefix(1);
  }
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::span<const SysctlName> sysctl_names() { return kNames; }

const SysctlName* find_sysctl(std::string_view name) {
  if (name == "net.nf_conntrack_max") name = "net.netfilter.nf_conntrack_max";
  const auto matches = [name](const SysctlName& known) {
    if (known.name == name) return true;
    if (!known.name.starts_with(kPrefix)) return false;
    std::string_view rest = name;
    if (rest.starts_with(kShortPrefix)) rest.remove_prefix(kShortPrefix.size());
    return known.name.substr(kPrefix.size()) == rest;
  };
  const auto found = std::ranges::find_if(kNames, matches);
  return found == std::end(kNames) ? nullptr : found;
}

Result<void> set_sysctl(Sysctl& sysctl, const SysctlName& name, std::string_view text) {
  if (name.is_read_only) {
    return std::unexpected(Error{EPERM, fmt::format("{} is read only", name.name)});
  }
  std::uint32_t least = name.least;
  std::uint32_t most = name.most;
  Knob& knob = name.knob(sysctl);
  if (&knob == &sysctl.max) most = sysctl.max_limit.get();
  // As in the kernel, the lower mark of reassembly's memory is never above the higher one.
  if (&knob == &sysctl.ipfrag_high_thresh) least = sysctl.ipfrag_low_thresh.get();
  if (&knob == &sysctl.ipfrag_low_thresh) most = sysctl.ipfrag_high_thresh.get();
  if (&knob == &sysctl.frag6_high_thresh) least = sysctl.frag6_low_thresh.get();
  if (&knob == &sysctl.frag6_low_thresh) most = sysctl.frag6_high_thresh.get();

  const std::optional<std::uint64_t> value = read_number(text);
  if (!value || *value < least || *value > most) {
    return std::unexpected(Error{EINVAL, fmt::format("{}: \"{}\" is no number from {} to {}",
                                                     name.name, text, least, most)});
  }
  knob.set(static_cast<std::uint32_t>(*value));
  return {};
}

}  // namespace weir::conntrack
