#include "io/xdp_socket.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>

#include "io/af_xdp.h"
#include "io/frame_link.h"
#include "io/vlan.h"

namespace weir::io {
namespace {

constexpr int kKicks = 64;  // Of one kick(): copy mode sends 32 frames a call.

template <typename T>
Result<void> set(int fd, int name, const T& value, const char* what) {
  if (setsockopt(fd, SOL_XDP, name, &value, sizeof value) != 0)
    return std::unexpected(system_error(what));
  return {};
}

}  // namespace

Result<std::unique_ptr<XdpSocket>> XdpSocket::make(FileDescriptor socket, const Options& options) {
  std::unique_ptr<XdpSocket> made(new XdpSocket(std::move(socket), options));
  if (auto set_up = made->set_up(); !set_up) return std::unexpected(set_up.error());
  return made;
}

Result<void> XdpSocket::set_up() {
  auto memory = FdMapping::map(options_.memory, static_cast<off_t>(options_.offset),
                               (kXdpFrames + kXdpSendFrames) * std::size_t{options_.frame_bytes},
                               "AF_XDP: mapping the frames");
  if (!memory) return std::unexpected(memory.error());
  memory_ = std::move(*memory);
  if (auto mapped = map_rings(); !mapped) return mapped;
  fill_all();
  return bind_to_queue();
}

Result<void> XdpSocket::map_rings() {
  // open_xdp() has made the receive ring: the program's map takes no socket without one.
  const std::uint32_t tx = options_.sends ? kXdpSendFrames : 1;
  if (auto done = set(fd(), XDP_UMEM_FILL_RING, kXdpFrames, "AF_XDP: fill ring"); !done)
    return done;
  if (auto done = set(fd(), XDP_UMEM_COMPLETION_RING, tx, "AF_XDP: completion ring"); !done)
    return done;
  xdp_mmap_offsets at{};
  socklen_t length = sizeof at;
  if (getsockopt(fd(), SOL_XDP, XDP_MMAP_OFFSETS, &at, &length) != 0)
    return std::unexpected(system_error("AF_XDP: offsets of the rings"));
  if (auto done = rx_.map(fd(), XDP_PGOFF_RX_RING, at.rx, kXdpFrames, "AF_XDP: receive ring");
      !done)
    return done;
  if (auto done = fill_.map(fd(), XDP_UMEM_PGOFF_FILL_RING, at.fr, kXdpFrames, "AF_XDP: fill ring");
      !done)
    return done;
  if (!options_.sends) return {};
  if (auto done = set(fd(), XDP_TX_RING, tx, "AF_XDP: transmit ring"); !done) return done;
  if (auto done = tx_.map(fd(), XDP_PGOFF_TX_RING, at.tx, tx, "AF_XDP: transmit ring"); !done)
    return done;
  return completion_.map(fd(), static_cast<off_t>(XDP_UMEM_PGOFF_COMPLETION_RING), at.cr, tx,
                         "AF_XDP: completion ring");
}

/// All receive frames are the kernel's to fill; the others are ours to send.
void XdpSocket::fill_all() {
  for (std::uint32_t i = 0; i < kXdpFrames; ++i)
    fill_.at(i) = static_cast<std::uint64_t>(i) * options_.frame_bytes;
  fill_.passed_as_producer(kXdpFrames);
  if (!options_.sends) return;
  tx_free_.reserve(kXdpSendFrames);
  for (std::uint64_t i = kXdpSendFrames; i > 0; --i)
    tx_free_.push_back((kXdpFrames + i - 1) * options_.frame_bytes);
}

Result<void> XdpSocket::bind_to_queue() {
  sockaddr_xdp address{};
  address.sxdp_family = AF_XDP;
  address.sxdp_ifindex = options_.ifindex;
  address.sxdp_queue_id = options_.queue;
  for (const std::uint16_t mode : {XDP_ZEROCOPY, XDP_COPY}) {
    if (mode == XDP_ZEROCOPY && !options_.is_native) continue;
    address.sxdp_flags = mode | XDP_USE_NEED_WAKEUP;
    if (bind(fd(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
      is_zero_copy_ = mode == XDP_ZEROCOPY;
      return {};
    }
  }
  return std::unexpected(
      system_error(fmt::format("AF_XDP: binding to receive queue {}", options_.queue)));
}

std::size_t XdpSocket::receive(packet::Batch& batch, packet::Pool& pool, QueueCounters& counters) {
  const std::uint32_t count = rx_.waiting(static_cast<std::uint32_t>(batch.room()));
  if (count == 0) {
    if (fill_.needs_wakeup()) recvfrom(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, nullptr);
    return 0;
  }
  constexpr std::uint32_t kAhead = 4;
  const auto frame_at = [&](std::uint32_t i) { return memory_.data() + rx_.at(i).addr; };
  for (std::uint32_t i = 0; i < std::min(count, kAhead); ++i) __builtin_prefetch(frame_at(i));
  std::size_t added = 0;
  std::uint64_t bytes = 0;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (i + kAhead < count) __builtin_prefetch(frame_at(i + kAhead));
    const xdp_desc& frame = rx_.at(i);
    if (packet::Packet* const packet = pool.take(frame.len + kVlanRoomBytes)) {
      std::memcpy(packet->frame(), memory_.data() + frame.addr, frame.len);
      packet->length = frame.len;
      packet->link_type = link_type_of(*packet);
      batch.add(packet);
      ++added;
      bytes += frame.len;
    } else {
      ++missed_;
    }
    fill_.at(i) = frame.addr & ~static_cast<std::uint64_t>(options_.frame_bytes - 1);
  }
  // As many go back as have come: the fill ring has room for every receive frame.
  fill_.passed_as_producer(count);
  rx_.passed_as_consumer(count);
  counters.rx_packets.add(added);
  counters.rx_bytes.add(bytes);
  return added;
}

bool XdpSocket::put(Bytes frame) {
  if (frame.size() > options_.frame_bytes) return false;
  if (tx_free_.empty()) {
    kick();
    if (tx_free_.empty()) return false;
  }
  if (tx_.room(1) == 0) return false;
  const std::uint64_t at = tx_free_.back();
  tx_free_.pop_back();
  std::memcpy(memory_.data() + at, frame.data(), frame.size());
  tx_.at(0) = {.addr = at, .len = static_cast<std::uint32_t>(frame.size()), .options = 0};
  tx_.passed_as_producer(1);
  has_put_ = true;
  return true;
}

void XdpSocket::kick() {
  if (has_put_ && tx_.needs_wakeup()) {
    // EAGAIN: the call's share has gone, there is more; EBUSY and ENOBUFS: the device is full.
    for (int i = 0; i < kKicks; ++i) {
      if (sendto(fd(), nullptr, 0, MSG_DONTWAIT, nullptr, 0) >= 0 || errno != EAGAIN) break;
    }
  }
  has_put_ = false;
  if (options_.sends) reclaim_sent();
}

void XdpSocket::reclaim_sent() {
  const std::uint32_t count = completion_.waiting(kXdpSendFrames);
  for (std::uint32_t i = 0; i < count; ++i)
    tx_free_.push_back(completion_.at(i) & ~static_cast<std::uint64_t>(options_.frame_bytes - 1));
  completion_.passed_as_consumer(count);
}

std::uint64_t XdpSocket::take_missed() {
  xdp_statistics now{};
  socklen_t length = sizeof now;
  if (getsockopt(fd(), SOL_XDP, XDP_STATISTICS, &now, &length) != 0) return 0;
  const std::uint64_t lost = now.rx_dropped + now.rx_ring_full;
  const std::uint64_t since = lost + missed_ - reported_;
  reported_ = lost + missed_;
  return since;
}

}  // namespace weir::io
