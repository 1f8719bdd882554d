#include "packet/pool.h"

#include <sys/mman.h>

#include <new>

namespace weir::packet {

Pool::Pool(std::size_t small_count, std::size_t large_count) {
  make(small_, small_count, BufferClass::small, kHeadroomBytes + kSmallFrameBytes);
  make(large_, large_count, BufferClass::large, kHeadroomBytes + kLargeFrameBytes);
}

Pool::~Pool() {
  for (const Mapping& mapping : mappings_) munmap(mapping.at, mapping.bytes);
}

void Pool::make(std::vector<Packet*>& list, std::size_t count, BufferClass buffer_class,
                std::uint32_t capacity_bytes) {
  if (count == 0) return;
  const std::size_t stride = (capacity_bytes + 63) & ~std::size_t{63};
  const Mapping mapping{
      mmap(nullptr, count * stride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      count * stride};
  if (mapping.at == MAP_FAILED) throw std::bad_alloc();
  madvise(mapping.at, mapping.bytes,
          MADV_HUGEPAGE);  // Where the system has them; no loss elsewhere.
  mappings_.push_back(mapping);

  packets_.push_back(std::make_unique<Packet[]>(count));
  list.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    Packet& packet = packets_.back()[i];
    packet.buffer = static_cast<std::uint8_t*>(mapping.at) + i * stride;
    packet.capacity_bytes = capacity_bytes;
    packet.buffer_class = buffer_class;
    list.push_back(&packet);
  }
}

Packet* Pool::take(std::uint32_t frame_bytes) {
  std::vector<Packet*>& list = frame_bytes <= kSmallFrameBytes ? small_ : large_;
  if (frame_bytes > kLargeFrameBytes || list.empty()) return nullptr;
  Packet* const packet = list.back();
  list.pop_back();
  packet->reset(kHeadroomBytes);
  return packet;
}

void Pool::release(Packet* packet) {
  (packet->buffer_class == BufferClass::small ? small_ : large_).push_back(packet);
}

}  // namespace weir::packet
