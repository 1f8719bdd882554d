#pragma once

#include <cstddef>
#include <deque>

#include "base/bytes.h"
#include "io/port.h"

namespace weir::io {

/// A queue between the pipeline and the program that made it, for tests and benchmarks: what is put
/// in is received in order, what is sent waits to be taken. One thread works both ends. Packets
/// that are left belong to the pools that they came from; the queue doesn't release them.
class MemoryQueue final : public Queue {
 public:
  struct Options {
    std::size_t room = 1024;  // Packets that wait on either side; sends beyond it fail.
    bool has_offloads =
        false;  // False: GSO is cut and checksums are finished on send, as on a wire.
    bool discards_sent = false;  // Sent packets are counted and released at once.
  };
  explicit MemoryQueue(const Options& options) : options_(options) {}

  /// Queues a packet for receive(); false, and the packet stays the caller's, when there is no
  /// room.
  bool put(packet::Packet* packet);
  /// Queues a copy of a frame in a packet of `pool`, its link type by the destination MAC.
  bool put_frame(Bytes frame, packet::Pool& pool, Time arrived = {});
  /// The next packet that was sent, VLAN tags in its frame; null when there is none. The caller
  /// releases it.
  packet::Packet* take_sent();

  std::size_t receive(packet::Batch& batch, packet::Pool& pool) override;
  void send(std::span<packet::Packet* const> packets, packet::Pool& pool) override;
  bool is_up() const override { return is_up_; }
  void set_up(bool is_up) { is_up_ = is_up; }

 private:
  void finish(packet::Packet* packet, packet::Pool& pool);
  void keep(packet::Packet* packet, packet::Pool& pool);

  Options options_;
  std::deque<packet::Packet*> waiting_;
  std::deque<packet::Packet*> sent_;
  bool is_up_ = true;
};

}  // namespace weir::io
