#include "tests/oracle/kernel_driver.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

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

milliseconds now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return milliseconds(time.tv_sec * 1000 + time.tv_nsec / 1000000);
}

}  // namespace

std::string KernelDriver::why_unavailable() {
  if (geteuid() != 0) return "it needs root";
  if (const auto nft = run_program({"nft", "--version"}, ""); !nft) return nft.error().text;
  if (const auto tool = run_program({"conntrack", "--version"}, ""); !tool)
    return tool.error().text;
  return {};
}

KernelDriver::~KernelDriver() {
  for (const Wire& wire : wires_) close(wire.socket);
}

Result<void> KernelDriver::set_up(const Network& network, const std::string& rules) {
  if (auto done = namespace_.set_up(network); !done) return done;
  if (auto done = open_wires(network); !done) return done;
  if (rules.empty()) return {};
  const auto loaded = run_program({"nft", "-f", "-"}, rules);
  if (!loaded) return std::unexpected(loaded.error());
  return {};
}

Result<void> KernelDriver::open_wires(const Network& network) {
  if (auto done = namespace_.enter_peers(); !done) return done;
  for (const PortSetup& port : network.ports) {
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
  return namespace_.enter_gateway();
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
    for (const Wire& wire : wires_)
      polled.push_back({.fd = wire.socket, .events = POLLIN, .revents = 0});
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

Result<void> KernelDriver::ip(const std::string& words) { return namespace_.ip(words); }

}  // namespace weir::test
