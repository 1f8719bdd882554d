#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "io/port.h"
#include "packet/pool.h"
#include "routing/types.h"

namespace weir::pipeline {

/// The queues of one port that a worker uses; it doesn't own them. `host` is null where there is no
/// host: replay, tests, bench.
struct PortQueues {
  io::Queue* wire = nullptr;
  io::Queue* host = nullptr;
};

/// The packets that a worker has ready to leave, by port, until the end of its batch.
class Output {
 public:
  explicit Output(std::vector<PortQueues> ports);

  void to_wire(std::uint16_t port, packet::Packet* packet) {
    ports_[port].to_wire.push_back(packet);
  }
  void to_host(std::uint16_t port, packet::Packet* packet) {
    ports_[port].to_host.push_back(packet);
  }
  bool has_host(std::uint16_t port) const { return ports_[port].queues.host != nullptr; }

  /// Sends everything; all packets go back to the pool.
  void flush(packet::Pool& pool);

  /// The end of a round: what the queues have kept back goes.
  void kick();

  std::size_t port_count() const { return ports_.size(); }
  const PortQueues& queues(std::uint16_t port) const { return ports_[port].queues; }
  /// A device has come back: its new queues. Requires: between batches.
  void replace(std::uint16_t port, const PortQueues& queues) { ports_[port].queues = queues; }

 private:
  struct Waiting {
    PortQueues queues;
    std::vector<packet::Packet*> to_wire;
    std::vector<packet::Packet*> to_host;
  };
  static void send(io::Queue* queue, std::vector<packet::Packet*>& packets, packet::Pool& pool);

  std::vector<Waiting> ports_;
};

}  // namespace weir::pipeline
