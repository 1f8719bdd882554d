#include "io/memory_port.h"

#include <cstring>

#include "io/frame_link.h"
#include "io/vlan.h"
#include "packet/checksum.h"
#include "packet/segment.h"

namespace weir::io {

bool MemoryQueue::put(packet::Packet* packet) {
  if (waiting_.size() >= options_.room) return false;
  waiting_.push_back(packet);
  return true;
}

bool MemoryQueue::put_frame(Bytes frame, packet::Pool& pool, Time arrived) {
  if (waiting_.size() >= options_.room) return false;
  packet::Packet* const packet = pool.take(static_cast<std::uint32_t>(frame.size()));
  if (packet == nullptr) return false;
  packet->length = static_cast<std::uint32_t>(frame.size());
  if (!frame.empty()) std::memcpy(packet->frame(), frame.data(), frame.size());
  packet->link_type = link_type_of(*packet);
  packet->arrived = arrived;
  waiting_.push_back(packet);
  return true;
}

packet::Packet* MemoryQueue::take_sent() {
  if (sent_.empty()) return nullptr;
  packet::Packet* const packet = sent_.front();
  sent_.pop_front();
  return packet;
}

std::size_t MemoryQueue::receive(packet::Batch& batch, packet::Pool&) {
  if (!is_up_) return 0;
  std::size_t added = 0;
  while (!waiting_.empty() && !batch.is_full()) {
    packet::Packet* const packet = waiting_.front();
    waiting_.pop_front();
    counters_.rx_packets.add();
    counters_.rx_bytes.add(packet->length);
    batch.add(packet);
    ++added;
  }
  return added;
}

void MemoryQueue::send(std::span<packet::Packet* const> packets, packet::Pool& pool) {
  for (packet::Packet* const packet : packets) finish(packet, pool);
}

void MemoryQueue::finish(packet::Packet* packet, packet::Pool& pool) {
  if (options_.has_offloads) {
    keep(packet, pool);
    return;
  }
  if (packet->gso.type != packet::Gso::Type::none) {
    const std::size_t made =
        packet::segment(*packet, pool, [&](packet::Packet* part) { keep(part, pool); });
    if (made == 0) counters_.tx_failed.add();
    pool.release(packet);
    return;
  }
  if (!packet::finish_checksum(*packet)) {
    counters_.tx_failed.add();
    pool.release(packet);
    return;
  }
  keep(packet, pool);
}

void MemoryQueue::keep(packet::Packet* packet, packet::Pool& pool) {
  if (!is_up_ || (!options_.discards_sent && sent_.size() >= options_.room)) {
    counters_.tx_failed.add();
    pool.release(packet);
    return;
  }
  restore_vlan(*packet);
  counters_.tx_packets.add();
  counters_.tx_bytes.add(packet->length);
  if (options_.discards_sent) {
    pool.release(packet);
  } else {
    sent_.push_back(packet);
  }
}

}  // namespace weir::io
