#include "tests/oracle/kernel_driver.h"

#include <algorithm>
#include <cstring>
#include <fstream>

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/oracle/age_table.h"
#include "tests/support/run_program.h"

namespace weir::test {

namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

/// How long a frame that is expected may take, and how long none may follow.
constexpr milliseconds kPatience{700};
constexpr milliseconds kQuiet{25};
constexpr seconds kLongestRealWait{3};
constexpr int kIgnoreOutgoing = 23;  // PACKET_IGNORE_OUTGOING.

/// What every scenario starts from, whatever this machine's defaults are. Written before the links are
/// made, so that they inherit it.
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

milliseconds now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return milliseconds(time.tv_sec * 1000 + time.tv_nsec / 1000000);
}

}  // namespace

std::string KernelDriver::why_unavailable() {
  if (geteuid() != 0) return "it needs root";
  if (const auto nft = run_program({"nft", "--version"}, ""); !nft) return nft.error().text;
  if (const auto tool = run_program({"conntrack", "--version"}, ""); !tool) return tool.error().text;
  return {};
}

KernelDriver::~KernelDriver() {
  for (const Wire& wire : wires_) close(wire.socket);
  if (peers_ >= 0) close(peers_);
  if (gateway_ >= 0) close(gateway_);
}

Result<void> KernelDriver::set_up(const Network& network, const std::string& rules) {
  if (auto done = make_namespaces(); !done) return done;
  if (auto done = make_links(network); !done) return done;
  if (auto done = open_wires(network); !done) return done;
  if (auto done = configure(network); !done) return done;
  if (rules.empty()) return {};
  const auto loaded = run_program({"nft", "-f", "-"}, rules);
  if (!loaded) return std::unexpected(loaded.error());
  return {};
}

Result<void> KernelDriver::make_namespaces() {
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

Result<void> KernelDriver::make_links(const Network& network) {
  std::string batch = "link set lo up\n";
  for (std::size_t i = 0; i < network.ports.size(); ++i) {
    const PortSetup& port = network.ports[i];
    batch += fmt::format("link add {0} address {1} mtu {2} type veth peer name {0} address {3} netns "
                         "/proc/{4}/fd/{5}\n",
                         port.name, mac_text(gateway_mac(i)), port.mtu_bytes,
                         mac_text(peer_mac(i)), getpid(), peers_);
  }
  const auto done = run_program({"ip", "-batch", "-"}, batch);
  if (!done) return std::unexpected(done.error());
  return {};
}

Result<void> KernelDriver::open_wires(const Network& network) {
  if (setns(peers_, CLONE_NEWNET) != 0) return std::unexpected(system_error("setns"));
  for (const PortSetup& port : network.ports) {
    if (const auto up = bring_up(port.name); !up) return up;
    const int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
    if (fd < 0) return std::unexpected(system_error("an AF_PACKET socket"));
    wires_.push_back({port.name, fd});
    sockaddr_ll where{};
    where.sll_family = AF_PACKET;
    where.sll_protocol = htons(ETH_P_ALL);
    where.sll_ifindex = static_cast<int>(if_nametoindex(port.name.c_str()));
    const int on = 1;
    if (bind(fd, reinterpret_cast<sockaddr*>(&where), sizeof where) != 0 ||
        setsockopt(fd, SOL_PACKET, kIgnoreOutgoing, &on, sizeof on) != 0 ||
        setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) != 0) {
      return std::unexpected(system_error("an AF_PACKET socket"));
    }
  }
  if (setns(gateway_, CLONE_NEWNET) != 0) return std::unexpected(system_error("setns"));
  return {};
}

Result<void> KernelDriver::configure(const Network& network) {
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
Result<void> KernelDriver::add_rules(const Network& network) {
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

Result<void> KernelDriver::send(const std::string& port, Bytes frame) {
  const auto wire = std::ranges::find(wires_, port, &Wire::port);
  for (int attempt = 0;; ++attempt) {
    if (::send(wire->socket, frame.data(), frame.size(), 0) >= 0) return {};
    // The link's carrier is reported by a work queue, so the first frame may be early.
    const bool may_come_up = errno == ENETDOWN || errno == ENOBUFS || errno == EAGAIN;
    if (!may_come_up || attempt == 100) return std::unexpected(system_error("sending to " + port));
    poll(nullptr, 0, 5);
  }
}

void KernelDriver::drain(std::vector<PortFrame>& frames) {
  for (const Wire& wire : wires_) {
    ByteString buffer(65536);
    for (;;) {
      const ssize_t length = recv(wire.socket, buffer.data(), buffer.size(), 0);
      if (length <= 0) break;
      frames.push_back({wire.port, ByteString(buffer.begin(), buffer.begin() + length)});
    }
  }
}

std::vector<PortFrame> KernelDriver::collect(std::size_t expected) {
  std::vector<PortFrame> frames;
  milliseconds last = now();
  std::size_t count = 0;
  for (;;) {
    const std::size_t before = frames.size();
    drain(frames);
    count = static_cast<std::size_t>(std::ranges::count_if(
        frames, [](const PortFrame& frame) { return !is_noise(frame.bytes); }));
    if (frames.size() != before) last = now();
    const milliseconds until = last + (count < expected ? kPatience : kQuiet);
    const milliseconds left = until - now();
    if (left.count() <= 0) return frames;
    std::vector<pollfd> polled;
    for (const Wire& wire : wires_) polled.push_back({.fd = wire.socket, .events = POLLIN, .revents = 0});
    poll(polled.data(), polled.size(), static_cast<int>(left.count()));
  }
}

Result<void> KernelDriver::wait(Duration time) {
  if (time > kLongestRealWait) return age_table(time);
  timespec left{.tv_sec = time.count() / 1000000000, .tv_nsec = time.count() % 1000000000};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
  return {};
}

Result<std::vector<std::string>> KernelDriver::table() {
  const auto text = run_program({"conntrack", "-L", "-o", "extended"}, "");
  if (!text) return std::unexpected(text.error());
  std::vector<std::string> lines;
  std::size_t at = 0;
  while (at < text->size()) {
    const std::size_t end = std::min(text->find('\n', at), text->size());
    if (end != at) lines.push_back(text->substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

Result<std::string> KernelDriver::nft(const std::string& words) {
  return run_program({"nft", words}, "");
}

Result<void> KernelDriver::ip(const std::string& words) {
  const auto done = run_program({"ip", "-batch", "-"}, words + "\n");
  if (!done) return std::unexpected(done.error());
  return {};
}

}  // namespace weir::test
