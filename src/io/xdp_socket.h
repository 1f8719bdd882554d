#pragma once

#include <linux/if_xdp.h>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "io/fd_mapping.h"
#include "io/port.h"

namespace weir::io {

/// One of the four rings of an AF_XDP socket, our end of it (Documentation/networking/af_xdp.rst of
/// the kernel): free-running 32-bit counts of what was put and taken, in memory that both sides
/// see.
template <typename Entry>
class XdpRing {
 public:
  Result<void> map(int fd, off_t page_offset, const xdp_ring_offset& at, std::uint32_t entries,
                   const char* what) {
    auto mapped = FdMapping::map(fd, page_offset, at.desc + entries * sizeof(Entry), what);
    if (!mapped) return std::unexpected(mapped.error());
    memory_ = std::move(*mapped);
    producer_ = reinterpret_cast<std::uint32_t*>(memory_.data() + at.producer);
    consumer_ = reinterpret_cast<std::uint32_t*>(memory_.data() + at.consumer);
    flags_ = reinterpret_cast<std::uint32_t*>(memory_.data() + at.flags);
    entries_ = reinterpret_cast<Entry*>(memory_.data() + at.desc);
    mask_ = entries - 1;
    return {};
  }

  /// As the producer: how many entries are free, at most `wanted`.
  std::uint32_t room(std::uint32_t wanted) {
    if (size() - (ours_ - theirs_) < wanted) theirs_ = acquire(consumer_);
    return std::min(wanted, size() - (ours_ - theirs_));
  }
  /// As the consumer: how many entries wait, at most `wanted`.
  std::uint32_t waiting(std::uint32_t wanted) {
    if (theirs_ - ours_ < wanted) theirs_ = acquire(producer_);
    return std::min(wanted, theirs_ - ours_);
  }
  /// The entry `ahead` of where we are: put it or take it, then pass() it.
  Entry& at(std::uint32_t ahead) { return entries_[(ours_ + ahead) & mask_]; }
  void passed_as_producer(std::uint32_t count) { release(producer_, ours_ += count); }
  void passed_as_consumer(std::uint32_t count) { release(consumer_, ours_ += count); }
  bool needs_wakeup() const {
    return (std::atomic_ref(*flags_).load(std::memory_order_relaxed) & XDP_RING_NEED_WAKEUP) != 0;
  }

 private:
  std::uint32_t size() const { return mask_ + 1; }
  static std::uint32_t acquire(std::uint32_t* at) {
    return std::atomic_ref(*at).load(std::memory_order_acquire);
  }
  static void release(std::uint32_t* at, std::uint32_t value) {
    std::atomic_ref(*at).store(value, std::memory_order_release);
  }

  FdMapping memory_;
  std::uint32_t* producer_ = nullptr;
  std::uint32_t* consumer_ = nullptr;
  std::uint32_t* flags_ = nullptr;
  Entry* entries_ = nullptr;
  std::uint32_t mask_ = 0;
  std::uint32_t ours_ = 0;
  std::uint32_t theirs_ = 0;
};

/// An AF_XDP socket with a umem of its own: frames are copied between it and the packets of a pool,
/// so that a packet may be held for as long as it takes without starving the device.
class XdpSocket {
 public:
  struct Options {
    std::uint32_t ifindex = 0;
    std::uint32_t queue = 0;
    bool is_native = false;
    bool sends = false;
    int memory = -1;  // Registered by open_xdp(); stays the caller's.
    std::size_t offset = 0;
    std::uint32_t frame_bytes = 0;
  };

  /// Maps the memory, sets the rings up and binds, by zero-copy where the driver has it. `socket`
  /// is in its program's map already.
  static Result<std::unique_ptr<XdpSocket>> make(FileDescriptor socket, const Options& options);

  /// As Queue's. What is received has the link type by the destination MAC, see io/af_xdp.cc.
  std::size_t receive(packet::Batch& batch, packet::Pool& pool, QueueCounters& counters);

  /// Puts a finished frame into the transmit ring; false when it is full or the frame too long.
  bool put(Bytes frame);
  /// Has the kernel send what has been put.
  void kick();

  int fd() const { return socket_.get(); }
  bool is_zero_copy() const { return is_zero_copy_; }
  /// Frames that were lost for want of room, since the last call.
  std::uint64_t take_missed();

 private:
  XdpSocket(FileDescriptor socket, const Options& options)
      : socket_(std::move(socket)), options_(options) {}
  Result<void> set_up();
  Result<void> map_rings();
  Result<void> bind_to_queue();
  void fill_all();
  void reclaim_sent();

  FileDescriptor socket_;
  const Options options_;
  FdMapping memory_;
  XdpRing<std::uint64_t> fill_;
  XdpRing<std::uint64_t> completion_;
  XdpRing<xdp_desc> rx_;
  XdpRing<xdp_desc> tx_;
  std::vector<std::uint64_t> tx_free_;  // Frames of the umem that may be put.
  bool is_zero_copy_ = false;
  bool has_put_ = false;
  std::uint64_t missed_ = 0;  // For want of a packet.
  std::uint64_t reported_ = 0;
};

}  // namespace weir::io
