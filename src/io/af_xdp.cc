// Receiving: each receive queue of the device has one AF_XDP socket, and each socket one worker. A
// worker without a socket of this port only sends.
//
// Sending, whatever the way, is on a wire: segments are cut and checksums finished in software. A
// worker sends by the transmit ring of its first socket; by the port's XDP program (live_frames.h);
// or, when it has no socket and there are no live frames, by an AF_PACKET socket that never
// receives. The first two keep frames back until kick(), for a call costs more than a frame.
#include "io/af_xdp.h"

#include <net/if.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "io/af_packet.h"
#include "io/live_frames.h"
#include "io/vlan.h"
#include "io/xdp_socket.h"
#include "packet/checksum.h"
#include "packet/segment.h"
#include "wire/ethernet.h"

namespace weir::io {
namespace {

/// Answers about the port's device.
class DeviceControl {
 public:
  Result<void> open(std::uint32_t ifindex) {
    socket_ = FileDescriptor(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    if (!socket_.is_open()) return std::unexpected(system_error("socket"));
    if (if_indextoname(ifindex, name_) == nullptr)
      return std::unexpected(system_error("name of the device"));
    return {};
  }
  Result<wire::MacAddress> mac() const {
    ifreq request{};
    if (!ask(SIOCGIFHWADDR, request)) return std::unexpected(system_error("MAC of the device"));
    wire::MacAddress mac;
    std::memcpy(mac.data(), request.ifr_hwaddr.sa_data, mac.size());
    return mac;
  }

 private:
  bool ask(unsigned long what, ifreq& request) const {
    std::memcpy(request.ifr_name, name_, sizeof name_);
    return ioctl(socket_.get(), what, &request) == 0;
  }

  FileDescriptor socket_;
  char name_[IFNAMSIZ] = {};
};

/// The port's MAC address, which tells what is for somebody else. It may change: a frame that isn't
/// ours makes us look again, but not for each of a flood of them.
class OwnMac {
 public:
  explicit OwnMac(std::shared_ptr<const DeviceControl> device) : device_(std::move(device)) {}

  bool is(const wire::MacAddress& mac) {
    if (mac == mac_) [[likely]]
      return true;
    if (others_++ % kReadAgain == 0) {
      if (const auto now = device_->mac()) mac_ = *now;
    }
    return mac == mac_;
  }

 private:
  static constexpr std::uint32_t kReadAgain = 1024;

  std::shared_ptr<const DeviceControl> device_;
  wire::MacAddress mac_{};
  std::uint32_t others_ = 0;
};

/// The program and its maps, which the queues of a port share.
struct Port {
  FileDescriptor link;
  FileDescriptor program;
  FileDescriptor live_slots;
  FileDescriptor live_control;
};

class XdpQueue final : public Queue {
 public:
  XdpQueue(std::shared_ptr<const Port> port, std::shared_ptr<const DeviceControl> device)
      : port_(std::move(port)), mac_(std::move(device)) {}

  void add(std::unique_ptr<XdpSocket> socket) { sockets_.push_back(std::move(socket)); }
  void use(LiveFrames live) { live_.emplace(std::move(live)); }
  void use(FileDescriptor sender) { sender_ = std::move(sender); }
  int sender() const { return sender_.get(); }

  /// After the last add(): several sockets wait behind one descriptor.
  Result<void> watch_sockets() {
    if (sockets_.size() < 2) return {};
    epoll_ = FileDescriptor(epoll_create1(EPOLL_CLOEXEC));
    if (!epoll_.is_open()) return std::unexpected(system_error("epoll"));
    for (const auto& socket : sockets_) {
      epoll_event event{};
      event.events = EPOLLIN;
      if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, socket->fd(), &event) != 0)
        return std::unexpected(system_error("epoll"));
    }
    return {};
  }

  std::size_t receive(packet::Batch& batch, packet::Pool& pool) override {
    const std::size_t before = batch.size();
    for (std::size_t i = 0; i < sockets_.size() && !batch.is_full(); ++i) {
      next_ = next_ + 1 >= sockets_.size() ? 0 : next_ + 1;  // Each gets its turn to be first.
      sockets_[next_]->receive(batch, pool, counters_);
    }
    for (std::size_t i = before; i < batch.size(); ++i) classify(*batch[i]);
    const std::size_t added = batch.size() - before;
    if (added == 0) read_missed();
    return added;
  }

  void send(std::span<packet::Packet* const> packets, packet::Pool& pool) override {
    for (packet::Packet* const packet : packets) {
      if (packet->gso.type != packet::Gso::Type::none) {
        const std::size_t made = packet::segment(*packet, pool, [&](packet::Packet* part) {
          put(*part);
          pool.release(part);
        });
        if (made == 0) counters_.tx_failed.add();
      } else if (packet::finish_checksum(*packet)) {
        put(*packet);
      } else {
        counters_.tx_failed.add();
      }
      pool.release(packet);
    }
  }

  void kick() override {
    if (live_) {
      counters_.tx_failed.add(live_->kick());
    } else if (!sockets_.empty()) {
      sockets_.front()->kick();
    }
  }

  int wait_fd() const override {
    if (epoll_.is_open()) return epoll_.get();
    return sockets_.empty() ? -1 : sockets_.front()->fd();
  }

 private:
  void classify(packet::Packet& packet) {
    if (packet.link_type != packet::LinkType::host || packet.length < sizeof(wire::Ethernet))
      return;
    if (!mac_.is(wire::at<wire::Ethernet>(packet.frame()).dst()))
      packet.link_type = packet::LinkType::other_host;
  }

  void put(packet::Packet& packet) {
    if (!live_ && sockets_.empty()) {
      packet::Packet* const one[] = {&packet};
      send_frames(sender_.get(), one, counters_);
      return;
    }
    restore_vlan(packet);
    const bool is_put = live_ ? live_->put(packet.bytes()) : sockets_.front()->put(packet.bytes());
    if (!is_put) {
      counters_.tx_failed.add();
      return;
    }
    counters_.tx_packets.add();
    counters_.tx_bytes.add(packet.length);
  }

  void read_missed() {
    if (++empty_reads_ % 1024 != 1) return;
    for (const auto& socket : sockets_) counters_.rx_missed.add(socket->take_missed());
  }

  std::shared_ptr<const Port> port_;
  OwnMac mac_;
  std::vector<std::unique_ptr<XdpSocket>> sockets_;
  std::size_t next_ = 0;
  std::optional<LiveFrames> live_;
  FileDescriptor sender_;
  FileDescriptor epoll_;
  std::uint64_t empty_reads_ = 0;
};

}  // namespace

Result<std::vector<std::unique_ptr<Queue>>> make_xdp_queues(XdpDescriptors descriptors,
                                                            const XdpQueueOptions& options) {
  const auto port =
      std::make_shared<const Port>(Port{.link = std::move(descriptors.link),
                                        .program = std::move(descriptors.program),
                                        .live_slots = std::move(descriptors.live_slots),
                                        .live_control = std::move(descriptors.live_control)});
  const bool has_live = port->live_slots.is_open();
  const auto device = std::make_shared<DeviceControl>();
  if (auto opened = device->open(descriptors.ifindex); !opened)
    return std::unexpected(opened.error());
  std::vector<std::unique_ptr<XdpQueue>> made;
  for (std::uint32_t worker = 0; worker < descriptors.workers; ++worker) {
    auto queue = std::make_unique<XdpQueue>(port, device);
    if (worker < descriptors.senders.size()) queue->use(std::move(descriptors.senders[worker]));
    if (has_live) {
      auto live = LiveFrames::make({.program = port->program.get(),
                                    .slots = port->live_slots.get(),
                                    .control = port->live_control.get(),
                                    .sender = queue->sender(),
                                    .workers = descriptors.workers,
                                    .worker = worker});
      if (!live) return std::unexpected(live.error());
      queue->use(std::move(*live));
    }
    made.push_back(std::move(queue));
  }
  struct stat memory{};
  if (fstat(descriptors.memory.get(), &memory) != 0)
    return std::unexpected(system_error("AF_XDP: size of the frames' memory"));
  const std::size_t count = descriptors.sockets.size();
  const std::size_t share = static_cast<std::size_t>(memory.st_size) / count;
  for (std::uint32_t i = 0; i < count; ++i) {
    auto socket = XdpSocket::make(
        std::move(descriptors.sockets[i]),
        {.ifindex = descriptors.ifindex,
         .queue = i,
         .is_native = descriptors.is_native,
         .sends = !has_live,
         .memory = descriptors.memory.get(),
         .offset = share * i,
         .frame_bytes = static_cast<std::uint32_t>(share / (kXdpFrames + kXdpSendFrames))});
    if (!socket) return std::unexpected(socket.error());
    made[(options.first_worker + i) % made.size()]->add(std::move(*socket));
  }
  std::vector<std::unique_ptr<Queue>> queues;
  for (auto& queue : made) {
    if (auto watched = queue->watch_sockets(); !watched) return std::unexpected(watched.error());
    queues.push_back(std::move(queue));
  }
  return queues;
}

}  // namespace weir::io
