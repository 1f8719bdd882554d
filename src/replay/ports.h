#pragma once

#include "io/port.h"
#include "replay/journal.h"

namespace weir::replay {

/// One side's port of the replayed gateway: hands over the captured packet that was put in, and
/// tells the journal what leaves.
class WirePort final : public io::Queue {
 public:
  WirePort(Side side, Journal& journal) : side_(side), journal_(journal) {}

  /// Requires: the one before has been received.
  void put(packet::Packet* packet) { waiting_ = packet; }
  /// Where what leaves goes too, or null; it stays the caller's.
  void copy_to(io::Queue* writer) { writer_ = writer; }
  /// The time stamp of what leaves from now on, since 1970.
  void set_stamp(Duration stamp) { stamp_ = Time(stamp); }

  std::size_t receive(packet::Batch& batch, packet::Pool& pool) override;
  void send(std::span<packet::Packet* const> packets, packet::Pool& pool) override;

 private:
  const Side side_;
  Journal& journal_;
  packet::Packet* waiting_ = nullptr;
  io::Queue* writer_ = nullptr;
  Time stamp_{};
};

/// The host behind a port, which is only told of.
class HostPort final : public io::Queue {
 public:
  explicit HostPort(Journal& journal) : journal_(journal) {}

  std::size_t receive(packet::Batch&, packet::Pool&) override { return 0; }
  void send(std::span<packet::Packet* const> packets, packet::Pool& pool) override;

 private:
  Journal& journal_;
};

}  // namespace weir::replay
