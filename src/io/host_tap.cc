#include "io/host_tap.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/file_descriptor.h"
#include "io/host_mark.h"
#include "io/virtio.h"
#include "io/vlan.h"

namespace weir::io {
namespace {

constexpr unsigned kOffloads = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
constexpr unsigned kUdpOffloads =
    0x20 | 0x40;                // TUN_F_USO4 and USO6, missing from Debian 12's header.
constexpr int kTapMtu = 65521;  // The port's own MTU is what limits.
constexpr std::uint32_t kSmallestFrameBytes = 14;  // An Ethernet header.
constexpr int kDyingChecks = 100;
constexpr useconds_t kDyingPauseMicroseconds = 10'000;

class TapQueue final : public Queue {
 public:
  explicit TapQueue(FileDescriptor tap) : tap_(std::move(tap)) {}

  std::size_t receive(packet::Batch& batch, packet::Pool& pool) override {
    std::size_t added = 0;
    while (!batch.is_full()) {
      packet::Packet* const packet = pool.take(packet::kLargeFrameBytes);
      if (packet == nullptr) break;
      if (!read_into(*packet)) {
        pool.release(packet);
        break;
      }
      batch.add(packet);
      ++added;
    }
    return added;
  }

  void send(std::span<packet::Packet* const> packets, packet::Pool& pool) override {
    for (packet::Packet* packet : packets) {
      write_from(*packet);
      pool.release(packet);
    }
  }

  int wait_fd() const override { return tap_.get(); }

 private:
  bool read_into(packet::Packet& packet) {
    VirtioHeader header;
    iovec parts[2] = {{&header, sizeof header},
                      {packet.frame(), packet.capacity_bytes - packet.start - kVlanRoomBytes}};
    const ssize_t received = readv(tap_.get(), parts, 2);
    if (received <= static_cast<ssize_t>(sizeof header)) return false;
    packet.length = static_cast<std::uint32_t>(received) - sizeof header;
    read_virtio(header, packet);
    packet.is_from_host = true;
    packet.mark = packet.length >= kSmallestFrameBytes ? host_mark(packet.frame()) : 0;
    packet.link_type = packet::LinkType::outgoing;
    counters_.rx_packets.add();
    counters_.rx_bytes.add(packet.length);
    return true;
  }

  void write_from(packet::Packet& packet) {
    if (packet.length >= kSmallestFrameBytes) put_host_mark(packet.frame(), packet.mark);
    restore_vlan(packet);
    VirtioHeader header = make_virtio(packet);
    const iovec parts[2] = {{&header, sizeof header}, {packet.frame(), packet.length}};
    if (writev(tap_.get(), parts, 2) < 0) {
      counters_.tx_failed.add();
      return;
    }
    counters_.tx_packets.add();
    counters_.tx_bytes.add(packet.length);
  }

  FileDescriptor tap_;
};

Result<FileDescriptor> open_queue(const std::string& name, bool has_many) {
  FileDescriptor tap(open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC));
  if (!tap.is_open()) return std::unexpected(system_error("/dev/net/tun"));
  ifreq request{};
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  request.ifr_flags =
      static_cast<short>(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | (has_many ? IFF_MULTI_QUEUE : 0));
  if (ioctl(tap.get(), TUNSETIFF, &request) != 0) {
    return std::unexpected(system_error("creating the TAP " + name + " (needs CAP_NET_ADMIN)"));
  }
  if (ioctl(tap.get(), TUNSETOFFLOAD, kOffloads | kUdpOffloads) != 0 &&
      ioctl(tap.get(), TUNSETOFFLOAD, kOffloads) != 0) {
    return std::unexpected(system_error("offloads of the TAP " + name));
  }
  return tap;
}

void disable_ipv6(const std::string& name) {
  const std::string path = fmt::format("/proc/sys/net/ipv6/conf/{}/disable_ipv6", name);
  const FileDescriptor file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (file.is_open() && write(file.get(), "1", 1) != 1)
    return;  // No IPv6 in this kernel: as wished.
}

Result<void> bring_up(const std::string& name) {
  const FileDescriptor control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq request{};
  std::strncpy(request.ifr_name, name.c_str(), IFNAMSIZ - 1);
  request.ifr_mtu = kTapMtu;
  if (ioctl(control.get(), SIOCSIFMTU, &request) != 0)
    return std::unexpected(system_error("MTU of " + name));
  request.ifr_flags = IFF_UP | IFF_NOARP;
  if (ioctl(control.get(), SIOCSIFFLAGS, &request) != 0)
    return std::unexpected(system_error("bringing up " + name));
  return {};
}

/// The first name is the usual one; the second is for an engine that takes over from another.
std::array<std::string, 2> names_of(std::uint32_t port_ifindex) {
  return {fmt::format("weir{}", port_ifindex), fmt::format("weir{}b", port_ifindex)};
}

bool exists(const std::string& name) { return if_nametoindex(name.c_str()) != 0; }

/// A name that nobody has. An engine that was killed takes a moment to lose its TAP.
Result<std::string> free_name(std::uint32_t port_ifindex, bool takes_over) {
  const auto names = names_of(port_ifindex);
  for (int i = 0; !takes_over && i < kDyingChecks && has_host_tap(port_ifindex); ++i)
    usleep(kDyingPauseMicroseconds);
  if (!takes_over && has_host_tap(port_ifindex)) {
    return std::unexpected(
        Error{EBUSY, fmt::format("device {} is a port of another weir engine", port_ifindex)});
  }
  for (const std::string& name : names) {
    if (!exists(name)) return name;
  }
  return std::unexpected(Error{EBUSY, "the TAPs " + names[0] + " and " + names[1] + " are in use"});
}

}  // namespace

bool has_host_tap(std::uint32_t port_ifindex) {
  const auto names = names_of(port_ifindex);
  return exists(names[0]) || exists(names[1]);
}

Result<HostTap> open_host_tap(std::uint32_t port_ifindex, std::size_t queues, bool takes_over) {
  auto name = free_name(port_ifindex, takes_over);
  if (!name) return std::unexpected(name.error());
  HostTap host{.device = std::move(*name), .ifindex = 0, .queues = {}};
  for (std::size_t i = 0; i < queues; ++i) {
    auto tap = open_queue(host.device, queues > 1);
    if (!tap) return std::unexpected(tap.error());
    host.queues.push_back(std::move(*tap));
  }
  disable_ipv6(host.device);
  if (auto up = bring_up(host.device); !up) return std::unexpected(up.error());
  host.ifindex = if_nametoindex(host.device.c_str());
  return host;
}

std::vector<std::unique_ptr<Queue>> make_tap_queues(std::vector<FileDescriptor> taps) {
  std::vector<std::unique_ptr<Queue>> queues;
  for (FileDescriptor& tap : taps) queues.push_back(std::make_unique<TapQueue>(std::move(tap)));
  return queues;
}

}  // namespace weir::io
