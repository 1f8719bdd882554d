#include "pipeline/output.h"

namespace weir::pipeline {

namespace {
constexpr std::size_t kUsualBatch = 1024;  // Fragmentation and held packets can make it more.
}

Output::Output(std::vector<PortQueues> ports) {
  for (const PortQueues& queues : ports) {
    Waiting& waiting = ports_.emplace_back(queues);
    waiting.to_wire.reserve(kUsualBatch);
    waiting.to_host.reserve(kUsualBatch);
  }
}

void Output::flush(packet::Pool& pool) {
  for (Waiting& waiting : ports_) {
    if (!waiting.to_wire.empty()) send(waiting.queues.wire, waiting.to_wire, pool);
    if (!waiting.to_host.empty()) send(waiting.queues.host, waiting.to_host, pool);
  }
}

void Output::kick() {
  for (const Waiting& waiting : ports_) {
    if (waiting.queues.wire != nullptr) waiting.queues.wire->kick();
  }
}

void Output::send(io::Queue* queue, std::vector<packet::Packet*>& packets, packet::Pool& pool) {
  if (queue != nullptr) {
    queue->send(packets, pool);
  } else {
    for (packet::Packet* packet : packets) pool.release(packet);
  }
  packets.clear();
}

}  // namespace weir::pipeline
