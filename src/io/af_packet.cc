// Receiving: a TPACKET_V2 ring of 2 KB frames, read without a system call. A longer packet (a GSO
// segment) has TP_STATUS_COPY: its ring frame keeps the order, and the whole packet waits in the
// socket's receive queue (PACKET_COPY_THRESH) for one recvmsg. V3's blocks would hold packets back
// until a timer fires, and recvmmsg alone costs a copy through the socket buffer for every small
// packet.
//
// Sending: one sendmmsg a batch, each packet preceded by its virtio header.
#include "io/af_packet.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>

#include "base/file_descriptor.h"
#include "io/fd_mapping.h"
#include "io/host_hooks.h"
#include "io/virtio.h"
#include "io/vlan.h"

namespace weir::io {
namespace {

constexpr std::uint32_t kFrameBytes = 2048;
constexpr std::uint32_t kRingFrames = 16384;  // 160 ms at 100,000 packets a second.
constexpr std::uint32_t kRingBytes = kRingFrames * kFrameBytes;
constexpr std::uint32_t kBlockBytes = 1 << 20;
constexpr int kSocketBufferBytes = 64 << 20;
constexpr int kSendRetries = 3;

template <typename T>
Result<void> set_option(int fd, int level, int name, const T& value, const char* what) {
  if (setsockopt(fd, level, name, &value, sizeof value) != 0)
    return std::unexpected(system_error(what));
  return {};
}

/// Accepts what the ingress program keeps from the host (bpf/port.bpf.c): IP that isn't neighbour
/// discovery, isn't tagged and doesn't bear the engine's own mark.
Result<void> attach_filter(int fd) {
  constexpr std::uint32_t kAncillary = static_cast<std::uint32_t>(SKF_AD_OFF);
  constexpr std::uint32_t kIpv6NextHeader = 14 + 6, kIpv6HopLimit = 14 + 7, kIcmp6Type = 14 + 40;
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kAncillary + SKF_AD_MARK),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kEngineMark, 15, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kAncillary + SKF_AD_VLAN_TAG),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0xfff, 13, 0),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, kAncillary + SKF_AD_PROTOCOL),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IP, 10, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ETH_P_IPV6, 0, 10),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kIpv6NextHeader),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_ICMPV6, 0, 7),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kIpv6HopLimit),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 255, 0, 5),
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kIcmp6Type),
      BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 133, 0, 3),
      BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, 137, 2, 0),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, 0x40000),
      BPF_STMT(BPF_RET | BPF_K, 0),
  };
  const sock_fprog program{.len = std::size(code), .filter = code};
  return set_option(fd, SOL_SOCKET, SO_ATTACH_FILTER, program, "SO_ATTACH_FILTER");
}

Result<void> make_ring(int fd) {
  const tpacket_req request{.tp_block_size = kBlockBytes,
                            .tp_block_nr = kRingBytes / kBlockBytes,
                            .tp_frame_size = kFrameBytes,
                            .tp_frame_nr = kRingFrames};
  return set_option(fd, SOL_PACKET, PACKET_RX_RING, request, "PACKET_RX_RING");
}

Result<void> set_options(int fd) {
  // PACKET_VNET_HDR must come before the ring, else EBUSY.
  struct Setting {
    int level, name, value;
    const char* what;
  };
  const Setting settings[] = {
      {SOL_PACKET, PACKET_VERSION, TPACKET_V2, "PACKET_VERSION"},
      {SOL_PACKET, PACKET_VNET_HDR, 1, "PACKET_VNET_HDR"},
      {SOL_PACKET, PACKET_IGNORE_OUTGOING, 1, "PACKET_IGNORE_OUTGOING"},
      {SOL_PACKET, PACKET_COPY_THRESH, 1, "PACKET_COPY_THRESH"},
      {SOL_SOCKET, SO_MARK, static_cast<int>(kEngineMark), "SO_MARK (needs CAP_NET_ADMIN)"},
      {SOL_SOCKET, SO_RCVBUFFORCE, kSocketBufferBytes, "SO_RCVBUFFORCE"},
      {SOL_SOCKET, SO_SNDBUFFORCE, kSocketBufferBytes, "SO_SNDBUFFORCE"},
  };
  for (const Setting& s : settings) {
    if (auto set = set_option(fd, s.level, s.name, s.value, s.what); !set) return set;
  }
  return {};
}

Result<FileDescriptor> open_socket() {
  FileDescriptor made(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0));
  if (!made.is_open()) return std::unexpected(system_error("AF_PACKET socket (needs CAP_NET_RAW)"));
  if (auto set = set_options(made.get()); !set) return std::unexpected(set.error());
  return made;
}

/// A protocol of zero receives nothing.
Result<void> bind_to(int fd, const AfPacketOptions& options, std::uint16_t protocol) {
  sockaddr_ll address{};
  address.sll_family = AF_PACKET;
  address.sll_protocol = htons(protocol);
  address.sll_ifindex = static_cast<int>(options.ifindex);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    return std::unexpected(system_error("binding to " + options.device));
  return {};
}

/// The first socket makes the group (`group` is zero) and learns its number; the others join it.
Result<void> join(int fd, std::uint16_t& group) {
  const bool is_first = group == 0;
  const std::uint32_t mode = PACKET_FANOUT_HASH | (is_first ? PACKET_FANOUT_FLAG_UNIQUEID : 0);
  const std::uint32_t argument = group | mode << 16;
  if (auto set = set_option(fd, SOL_PACKET, PACKET_FANOUT, argument, "PACKET_FANOUT"); !set)
    return set;
  if (!is_first) return {};
  std::uint32_t given = 0;
  socklen_t length = sizeof given;
  if (getsockopt(fd, SOL_PACKET, PACKET_FANOUT, &given, &length) != 0)
    return std::unexpected(system_error("PACKET_FANOUT"));
  group = static_cast<std::uint16_t>(given);
  return {};
}

/// The receive ring: fixed frames in blocks, mapped into this process.
class Ring {
 public:
  Result<void> map(int fd) {
    auto mapped = FdMapping::map(fd, 0, kRingBytes, "mapping the receive ring");
    if (!mapped) return std::unexpected(mapped.error());
    memory_ = std::move(*mapped);
    at_ = memory_.data();
    return {};
  }

  tpacket2_hdr& head() const { return *reinterpret_cast<tpacket2_hdr*>(at_ + next_ * kFrameBytes); }
  bool has_frame() const {
    return (status().load(std::memory_order_acquire) & TP_STATUS_USER) != 0;
  }
  void prefetch_next() const {
    const std::size_t after = next_ + 1 == kRingFrames ? 0 : next_ + 1;
    __builtin_prefetch(at_ + after * kFrameBytes);
    __builtin_prefetch(at_ + after * kFrameBytes + 64);
  }
  void give_back() {
    status().store(TP_STATUS_KERNEL, std::memory_order_release);
    next_ = next_ + 1 == kRingFrames ? 0 : next_ + 1;
  }

 private:
  std::atomic_ref<std::uint32_t> status() const {
    return std::atomic_ref<std::uint32_t>(head().tp_status);
  }

  FdMapping memory_;
  std::uint8_t* at_ = nullptr;
  std::size_t next_ = 0;
};

class AfPacketQueue final : public Queue {
 public:
  explicit AfPacketQueue(FileDescriptor socket) : socket_(std::move(socket)) {}

  Result<void> map_ring() { return ring_.map(fd()); }

  std::size_t receive(packet::Batch& batch, packet::Pool& pool) override {
    std::size_t added = 0;
    while (!batch.is_full() && ring_.has_frame()) {
      ring_.prefetch_next();
      if (packet::Packet* const packet = take_head(pool)) {
        batch.add(packet);
        ++added;
        counters_.rx_packets.add();
        counters_.rx_bytes.add(packet->length);
      } else {
        counters_.rx_missed.add();
      }
      ring_.give_back();
    }
    if (added == 0) read_kernel_drops();
    return added;
  }

  void send(std::span<packet::Packet* const> packets, packet::Pool& pool) override {
    while (!packets.empty()) {
      const auto now = packets.first(std::min(packets.size(), packet::kBatchMax));
      send_frames(fd(), now, counters_);
      for (packet::Packet* packet : now) pool.release(packet);
      packets = packets.subspan(now.size());
    }
  }

  int wait_fd() const override { return fd(); }

 private:
  int fd() const { return socket_.get(); }

  packet::Packet* take_head(packet::Pool& pool) {
    const tpacket2_hdr& head = ring_.head();
    const bool is_in_queue = (head.tp_status & TP_STATUS_COPY) != 0;
    packet::Packet* const packet = pool.take(head.tp_len + kVlanRoomBytes);
    if (is_in_queue) return receive_long(packet, pool);
    if (packet == nullptr) return nullptr;
    if (head.tp_snaplen != head.tp_len) {
      pool.release(packet);
      return nullptr;
    }

    const auto* const start = reinterpret_cast<const std::uint8_t*>(&head) + head.tp_mac;
    std::memcpy(packet->frame(), start, head.tp_snaplen);
    packet->length = head.tp_snaplen;
    read_virtio(load<VirtioHeader>(start - sizeof(VirtioHeader)), *packet);
    read_link(head, *packet);
    return packet;
  }

  /// The packet at the head of the receive queue; it is taken even without a buffer to put it in,
  /// for the ring's next long frame stands for the next one.
  packet::Packet* receive_long(packet::Packet* packet, packet::Pool& pool) {
    VirtioHeader header;
    iovec parts[2] = {{&header, sizeof header}, {nullptr, 0}};
    if (packet != nullptr) parts[1] = {packet->frame(), packet->capacity_bytes - packet->start};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = 2;
    const ssize_t received = recvmsg(fd(), &message, MSG_DONTWAIT);
    if (packet == nullptr) return nullptr;
    if (received < static_cast<ssize_t>(sizeof header) || (message.msg_flags & MSG_TRUNC) != 0) {
      pool.release(packet);
      return nullptr;
    }
    packet->length = static_cast<std::uint32_t>(received) - sizeof header;
    read_virtio(header, *packet);
    read_link(ring_.head(), *packet);
    return packet;
  }

  void read_link(const tpacket2_hdr& head, packet::Packet& packet) {
    const auto& address = *reinterpret_cast<const sockaddr_ll*>(
        reinterpret_cast<const std::uint8_t*>(&head) + TPACKET_ALIGN(sizeof(tpacket2_hdr)));
    packet.link_type = static_cast<packet::LinkType>(address.sll_pkttype);
    if ((head.tp_status & TP_STATUS_VLAN_VALID) != 0) {
      const std::uint16_t protocol =
          (head.tp_status & TP_STATUS_VLAN_TPID_VALID) != 0 ? head.tp_vlan_tpid : ETH_P_8021Q;
      packet.vlan[0] = {Be16::from_host(protocol), head.tp_vlan_tci};
      packet.vlan_count = 1;
    }
  }

  /// The kernel's own count of what didn't fit into the ring; reading it resets it. A pending error
  /// (the device went down) is read too, so that it doesn't keep a sleeper awake.
  void read_kernel_drops() {
    if (++empty_reads_ % 64 != 1) return;
    tpacket_stats stats{};
    socklen_t length = sizeof stats;
    if (getsockopt(fd(), SOL_PACKET, PACKET_STATISTICS, &stats, &length) == 0) {
      counters_.rx_missed.add(stats.tp_drops);
    }
    int error = 0;
    length = sizeof error;
    getsockopt(fd(), SOL_SOCKET, SO_ERROR, &error, &length);
  }

  FileDescriptor socket_;
  Ring ring_;
  std::uint64_t empty_reads_ = 0;
};

}  // namespace

Result<std::vector<FileDescriptor>> open_packet_sockets(const AfPacketOptions& options) {
  std::vector<FileDescriptor> sockets;
  std::uint16_t group = 0;
  for (std::size_t i = 0; i < options.queues; ++i) {
    auto opened = open_socket();
    if (!opened) return std::unexpected(opened.error());
    const int fd = opened->get();
    sockets.push_back(std::move(*opened));
    if (auto set = attach_filter(fd); !set) return std::unexpected(set.error());
    if (auto made = make_ring(fd); !made) return std::unexpected(made.error());
    if (auto bound = bind_to(fd, options, ETH_P_ALL); !bound) return std::unexpected(bound.error());
    if (options.queues == 1) continue;
    if (auto joined = join(fd, group); !joined) return std::unexpected(joined.error());
  }
  return sockets;
}

Result<std::vector<std::unique_ptr<Queue>>> make_packet_queues(
    std::vector<FileDescriptor> sockets) {
  std::vector<std::unique_ptr<Queue>> queues;
  for (FileDescriptor& socket : sockets) {
    auto queue = std::make_unique<AfPacketQueue>(std::move(socket));
    if (auto mapped = queue->map_ring(); !mapped) return std::unexpected(mapped.error());
    queues.push_back(std::move(queue));
  }
  return queues;
}

Result<FileDescriptor> open_packet_sender(const AfPacketOptions& options) {
  auto opened = open_socket();
  if (!opened) return opened;
  if (auto bound = bind_to(opened->get(), options, 0); !bound)
    return std::unexpected(bound.error());
  return opened;
}

void send_frames(int socket, std::span<packet::Packet* const> packets, QueueCounters& counters) {
  mmsghdr messages[packet::kBatchMax];
  iovec parts[packet::kBatchMax][2];
  VirtioHeader headers[packet::kBatchMax];
  for (std::size_t i = 0; i < packets.size(); ++i) {
    packet::Packet& packet = *packets[i];
    restore_vlan(packet);
    headers[i] = make_virtio(packet);
    parts[i][0] = {&headers[i], sizeof headers[i]};
    parts[i][1] = {packet.frame(), packet.length};
    messages[i] = {};
    messages[i].msg_hdr.msg_iov = parts[i];
    messages[i].msg_hdr.msg_iovlen = 2;
  }

  std::size_t sent = 0;
  int retries = 0;
  while (sent < packets.size()) {
    const int done = sendmmsg(socket, messages + sent, static_cast<unsigned>(packets.size() - sent),
                              MSG_DONTWAIT);
    if (done > 0) {
      for (int i = 0; i < done; ++i)
        counters.tx_bytes.add(packets[sent + static_cast<std::size_t>(i)]->length);
      counters.tx_packets.add(static_cast<std::uint64_t>(done));
      sent += static_cast<std::size_t>(done);
      retries = 0;
    } else if (errno != EINTR && ++retries > kSendRetries) {
      counters.tx_failed.add();
      ++sent;
      retries = 0;
    }
  }
}

}  // namespace weir::io
