#include "nat/port_map.h"

#include <bit>
#include <mutex>

#include "nat/choose.h"

namespace weir::nat {

void PortMap::clear_all() {
  for (auto& word : words_) word.store(0, std::memory_order_relaxed);
}

/// Within [from, end), a word at a time.
std::optional<std::uint16_t> PortMap::first_free(std::uint32_t from, std::uint32_t end) const {
  while (from < end) {
    const std::uint64_t taken = words_[from / 64].load(std::memory_order_relaxed);
    const std::uint64_t free = ~taken & (~std::uint64_t{0} << (from % 64));
    if (free != 0) {
      const std::uint32_t port =
          from / 64 * 64 + static_cast<std::uint32_t>(std::countr_zero(free));
      if (port >= end) return std::nullopt;
      return static_cast<std::uint16_t>(port);
    }
    from = (from / 64 + 1) * 64;
  }
  return std::nullopt;
}

std::optional<std::uint16_t> PortMap::next_free(std::uint16_t from, std::uint32_t first,
                                                std::uint32_t count) const {
  const auto found = first_free(from, first + count);
  return found ? found : first_free(first, from);
}

Result<Mapping> PortMaps::reserve() { return Mapping::anonymous(kMaps * sizeof(Slot)); }

std::uint64_t PortMaps::pool_of(conntrack::Tuple reply) const {
  mapped_end(reply, Manip::src).port = {};
  const std::uint8_t* const bytes = as_bytes(reply).data();
  std::array<std::uint64_t, sizeof(reply) / 8> words;
  for (std::size_t i = 0; i < words.size(); ++i) words[i] = load<std::uint64_t>(bytes + i * 8);
  return siphash13(key_, words) | 1;
}

PortMaps::Slot* PortMaps::slots(std::uint64_t pool) const {
  return reinterpret_cast<Slot*>(memory_.data()) + (pool >> 32) % (kMaps / kWays) * kWays;
}

PortMaps::Slot* PortMaps::slot_of(std::uint64_t pool) const {
  Slot* const candidates = slots(pool);
  for (std::size_t i = 0; i < kWays; ++i) {
    if (candidates[i].pool.load(std::memory_order_relaxed) == pool) return &candidates[i];
  }
  return nullptr;
}

PortMap* PortMaps::find(const conntrack::Tuple& reply, Time now) {
  Slot* const slot = slot_of(pool_of(reply));
  if (slot == nullptr) return nullptr;
  slot->used.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  return &slot->map;
}

PortMap* PortMaps::open(const conntrack::Tuple& reply, Time now) {
  if (PortMap* const map = find(reply, now)) return map;
  if (!opening_.try_lock()) return nullptr;
  const std::lock_guard lock(opening_, std::adopt_lock);
  if (PortMap* const map = find(reply, now)) return map;  // Another worker has been faster.
  const std::uint64_t pool = pool_of(reply);
  Slot* const candidates = slots(pool);
  Slot* oldest = candidates;
  for (std::size_t i = 0; i < kWays; ++i) {
    const auto used = candidates[i].used.load(std::memory_order_relaxed);
    if (used < oldest->used.load(std::memory_order_relaxed)) oldest = &candidates[i];
  }
  oldest->pool.store(0, std::memory_order_relaxed);
  oldest->map.clear_all();
  oldest->used.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  oldest->pool.store(pool, std::memory_order_release);
  return &oldest->map;
}

void PortMaps::freed(const conntrack::Tuple& reply) {
  Slot* const slot = slot_of(pool_of(reply));
  if (slot == nullptr) return;
  conntrack::Tuple copy = reply;
  slot->map.clear(mapped_end(copy, Manip::src).port.host());
}

}  // namespace weir::nat
