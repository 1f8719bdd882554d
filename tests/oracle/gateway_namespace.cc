#include "tests/oracle/gateway_namespace.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>

#include "tests/support/driver.h"
#include "tests/support/run_program.h"

namespace weir::test {

namespace {

/// What every scenario starts from, whatever this machine's defaults are. Written before the links
/// are made, so that they inherit it.
constexpr std::pair<std::string_view, std::string_view> kBaseline[] = {
    {"net.ipv4.ip_forward", "1"},
    {"net.ipv6.conf.all.forwarding", "1"},
    {"net.ipv6.conf.default.forwarding", "1"},
    {"net.ipv6.conf.default.accept_dad", "0"},
    {"net.ipv6.conf.default.accept_ra", "0"},
    {"net.ipv6.conf.default.addr_gen_mode", "1"},
    {"net.ipv6.conf.default.router_solicitations", "0"},
    {"net.ipv4.conf.all.rp_filter", "0"},
    {"net.ipv4.conf.default.rp_filter", "0"},
    {"net.ipv4.conf.all.send_redirects", "0"},
    {"net.ipv4.conf.default.send_redirects", "0"},
    {"net.ipv4.conf.all.accept_redirects", "0"},
    {"net.ipv4.conf.default.accept_redirects", "0"},
    {"net.ipv4.conf.default.accept_source_route", "0"},
    {"net.netfilter.nf_conntrack_acct", "1"},
};

std::string mac_text(const std::array<std::uint8_t, 6>& mac) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0], mac[1], mac[2], mac[3],
                     mac[4], mac[5]);
}

Result<void> write_sysctl(std::string_view name, std::string_view value) {
  std::string path = "/proc/sys/" + std::string(name);
  std::ranges::replace(path.begin() + 10, path.end(), '.', '/');
  std::ofstream file(path);
  file << value << std::flush;
  if (file) return {};
  return std::unexpected(Error{EINVAL, fmt::format("sysctl {} can't be set to '{}'", name, value)});
}

Result<int> open_namespace() {
  if (unshare(CLONE_NEWNET) != 0) return std::unexpected(system_error("a network namespace"));
  const int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::unexpected(system_error("/proc/self/ns/net"));
  return fd;
}

/// Runs one ioctl of `request` on the interface `name`.
template <typename Fill>
Result<void> with_interface(const std::string& name, unsigned long request, const Fill& fill) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  ifreq query{};
  std::strncpy(query.ifr_name, name.c_str(), IFNAMSIZ - 1);
  fill(query);
  const bool is_done = ioctl(fd, request, &query) == 0;
  close(fd);
  if (!is_done) return std::unexpected(system_error(name));
  return {};
}

Result<void> bring_up(const std::string& name) {
  return with_interface(name, SIOCSIFFLAGS, [](ifreq& query) { query.ifr_flags = IFF_UP; });
}

Result<void> finish_checksums(const std::string& name) {
  ethtool_value off{.cmd = ETHTOOL_STXCSUM, .data = 0};
  return with_interface(name, SIOCETHTOOL,
                        [&](ifreq& query) { query.ifr_data = reinterpret_cast<char*>(&off); });
}

bool is_ip6(const std::string& words) { return words.find(':') != std::string::npos; }

}  // namespace

GatewayNamespace::~GatewayNamespace() {
  if (peers_ >= 0) close(peers_);
  if (gateway_ >= 0) close(gateway_);
}

Result<void> GatewayNamespace::set_up(const Network& network) {
  if (auto done = make_namespaces(); !done) return done;
  if (auto done = make_links(network); !done) return done;
  if (auto done = raise_peers(network); !done) return done;
  return configure(network);
}

Result<void> GatewayNamespace::enter_peers() const {
  if (setns(peers_, CLONE_NEWNET) != 0) return std::unexpected(system_error("setns"));
  return {};
}

Result<void> GatewayNamespace::enter_gateway() const {
  if (setns(gateway_, CLONE_NEWNET) != 0) return std::unexpected(system_error("setns"));
  return {};
}

Result<void> GatewayNamespace::ip(const std::string& words) const {
  const auto done = run_program({"ip", "-batch", "-"}, words + "\n");
  if (!done) return std::unexpected(done.error());
  return {};
}

Result<void> GatewayNamespace::make_namespaces() {
  const Result<int> peers = open_namespace();
  if (!peers) return std::unexpected(peers.error());
  peers_ = *peers;
  for (const std::string_view scope : {"all", "default"}) {
    const auto done = write_sysctl(fmt::format("net.ipv6.conf.{}.disable_ipv6", scope), "1");
    if (!done) return done;
  }
  const Result<int> gateway = open_namespace();
  if (!gateway) return std::unexpected(gateway.error());
  gateway_ = *gateway;
  for (const auto& [name, value] : kBaseline) {
    if (const auto done = write_sysctl(name, value); !done) return done;
  }
  return {};
}

Result<void> GatewayNamespace::make_links(const Network& network) const {
  std::string batch = "link set lo up\n";
  for (std::size_t i = 0; i < network.ports.size(); ++i) {
    const PortSetup& port = network.ports[i];
    batch += fmt::format(
        "link add {0} address {1} mtu {2} type veth peer name {0} address {3} netns "
        "/proc/{4}/fd/{5}\n",
        port.name, mac_text(gateway_mac(i)), port.mtu_bytes, mac_text(peer_mac(i)), getpid(),
        peers_);
  }
  const auto done = run_program({"ip", "-batch", "-"}, batch);
  if (!done) return std::unexpected(done.error());
  return {};
}

Result<void> GatewayNamespace::raise_peers(const Network& network) const {
  if (auto done = enter_peers(); !done) return done;
  for (const PortSetup& port : network.ports) {
    if (auto done = bring_up(port.name); !done) return done;
  }
  return enter_gateway();
}

Result<void> GatewayNamespace::configure(const Network& network) const {
  for (const PortSetup& port : network.ports) {
    if (auto done = finish_checksums(port.name); !done) return done;
    if (auto done = bring_up(port.name); !done) return done;
  }
  std::string batch;
  for (const PortSetup& port : network.ports) {
    for (const std::string& address : port.addresses) {
      batch += fmt::format("address add {} dev {}{}\n", address, port.name,
                           is_ip6(address) ? " nodad" : "");
    }
  }
  for (const auto& [port, address] : network.neighbours) {
    const auto at = std::ranges::find(network.ports, port, &PortSetup::name);
    batch += fmt::format("neighbour replace {} lladdr {} dev {} nud permanent\n", address,
                         mac_text(peer_mac(at - network.ports.begin())), port);
  }
  for (const std::string& nexthop : network.nexthops) batch += "nexthop add " + nexthop + "\n";
  for (const std::string& route : network.routes) batch += "route add " + route + "\n";
  for (const auto& [name, value] : network.sysctls) {
    if (auto done = write_sysctl(name, value); !done) return done;
  }
  const auto done = run_program({"ip", "-batch", "-"}, batch);
  if (!done) return std::unexpected(done.error());
  return add_rules(network);
}

/// Policy rules are of one family each, which only the command's option can say.
Result<void> GatewayNamespace::add_rules(const Network& network) const {
  for (const char* const family : {"-4", "-6"}) {
    std::string batch;
    for (const std::string& rule : network.rules) {
      if (is_ip6(rule) == (std::string_view(family) == "-6")) batch += "rule add " + rule + "\n";
    }
    if (batch.empty()) continue;
    const auto done = run_program({"ip", family, "-batch", "-"}, batch);
    if (!done) return std::unexpected(done.error());
  }
  return {};
}

}  // namespace weir::test
