#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "base/counter.h"
#include "packet/batch.h"
#include "packet/pool.h"

namespace weir::io {

/// What a queue has done so far. Counted by its worker, read by anybody.
struct QueueCounters {
  Counter rx_packets;
  Counter rx_bytes;   // Of frames, Ethernet header included.
  Counter rx_missed;  // Lost before weir saw them: the device's or the ring's overflow.
  Counter tx_packets;
  Counter tx_bytes;
  Counter tx_failed;  // Refused by the device or its queue.
};

/// One worker's end of a port. Every driver (AF_PACKET, a host's TAP, capture files, memory) is a
/// Queue; the pipeline knows nothing else of ports. Used by one worker only, never blocks.
class Queue {
 public:
  virtual ~Queue() = default;

  /// Adds packets that have arrived until none is left or the batch is full, and returns how many.
  /// A packet comes from `pool` with its frame, link type, checksum state, GSO and VLAN tags filled
  /// in; in_port and `arrived` too where the driver knows them better than the caller (captures).
  virtual std::size_t receive(packet::Batch& batch, packet::Pool& pool) = 0;

  /// Sends the packets in their order and releases every one of them to `pool`, sent or not;
  /// failures are counted. VLAN tags and unfinished checksums are put right for the driver here.
  virtual void send(std::span<packet::Packet* const> packets, packet::Pool& pool) = 0;

  /// The end of a worker's round: what send() has kept back to go in one call, goes.
  virtual void kick() {}

  /// Becomes readable when receive() would add something; -1 when the driver has no such thing, and
  /// the caller polls.
  virtual int wait_fd() const { return -1; }

  /// False when the device is gone or down; receive() then adds nothing and send() fails.
  virtual bool is_up() const { return true; }

  /// True when nothing will ever arrive again: the end of a capture file.
  virtual bool is_finished() const { return false; }

  const QueueCounters& counters() const { return counters_; }

 protected:
  QueueCounters counters_;
};

}  // namespace weir::io
