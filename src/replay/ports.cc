#include "replay/ports.h"

#include <utility>

namespace weir::replay {

std::size_t WirePort::receive(packet::Batch& batch, packet::Pool&) {
  if (waiting_ == nullptr || !batch.add(waiting_)) return 0;
  counters_.rx_packets.add();
  counters_.rx_bytes.add(std::exchange(waiting_, nullptr)->length);
  return 1;
}

void WirePort::send(std::span<packet::Packet* const> packets, packet::Pool& pool) {
  for (packet::Packet* const packet : packets) {
    counters_.tx_packets.add();
    counters_.tx_bytes.add(packet->length);
    packet->arrived = stamp_;
    journal_.on_sent(*packet, side_);
  }
  if (writer_ != nullptr) return writer_->send(packets, pool);
  for (packet::Packet* const packet : packets) pool.release(packet);
}

void HostPort::send(std::span<packet::Packet* const> packets, packet::Pool& pool) {
  for (packet::Packet* const packet : packets) {
    counters_.tx_packets.add();
    counters_.tx_bytes.add(packet->length);
    journal_.on_delivered(*packet);
    pool.release(packet);
  }
}

}  // namespace weir::replay
