#include "conntrack/proto/gre.h"

#include <cstring>
#include <mutex>

#include "conntrack/status.h"
#include "wire/udp.h"

namespace weir::conntrack {
namespace {

constexpr std::uint8_t kPptpVersion = 1;
constexpr Be16 kPpp = Be16::from_host(0x880b);

/// What an entry is looked up by.
Tuple without_source_key(Tuple tuple) {
  tuple.src_port = {};
  tuple.zone = 0;
  return tuple;
}

}  // namespace

Step track_gre(const Sighting& sighting, const TimeoutList& timeouts) {
  if (!sighting.seen_reply) return {.timeout = timeouts[timeout::kUnreplied]};
  return {.timeout = timeouts[timeout::kStream],
          .assured = true,
          .events = sighting.assured ? 0 : event::kAssured};
}

GreKeymap::GreKeymap(const HashKey& key)
    : key_(key), shards_(std::make_unique<std::array<Shard, kShards>>()) {}

GreKeymap::Shard& GreKeymap::shard_of(const Tuple& tuple) const {
  const Tuple looked_up = without_source_key(tuple);
  std::array<std::uint64_t, sizeof(Tuple) / 8> words;
  std::memcpy(words.data(), &looked_up, sizeof looked_up);
  return (*shards_)[siphash13(key_, words) % kShards];
}

bool GreKeymap::matches(const Slot& slot, const Tuple& tuple) {
  return without_source_key(slot.tuple) == without_source_key(tuple);
}

bool GreKeymap::add(const Tuple& tuple, std::uint32_t owner, std::uint32_t generation) {
  Shard& shard = shard_of(tuple);
  const std::lock_guard lock(shard.lock);
  Slot* free = nullptr;
  for (Slot& slot : shard.slots) {
    if (slot.tuple.family == wire::Family::none) {
      if (free == nullptr) free = &slot;
    } else if (matches(slot, tuple)) {
      slot = {tuple, owner, generation};
      return true;
    }
  }
  if (free == nullptr) return false;
  *free = {tuple, owner, generation};
  size_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

Be16 GreKeymap::find(const Tuple& tuple) const {
  if (size() == 0) return {};
  const Shard& shard = shard_of(tuple);
  const std::lock_guard lock(shard.lock);
  for (const Slot& slot : shard.slots) {
    if (slot.tuple.family != wire::Family::none && matches(slot, tuple)) {
      return slot.tuple.src_port;
    }
  }
  return {};
}

void GreKeymap::remove(std::uint32_t owner, std::uint32_t generation) {
  if (size() == 0) return;
  for (Shard& shard : *shards_) {
    const std::lock_guard lock(shard.lock);
    for (Slot& slot : shard.slots) {
      const bool is_theirs = slot.tuple.family != wire::Family::none && slot.owner == owner &&
                             slot.generation == generation;
      if (!is_theirs) continue;
      slot = {};
      size_.fetch_sub(1, std::memory_order_relaxed);
    }
  }
}

bool read_gre_keys(Bytes l4, const GreKeymap* keymap, Tuple& tuple) {
  tuple.src_port = {};
  tuple.dst_port = {};
  const auto* const gre = wire::view<wire::Gre>(l4);
  if (gre == nullptr || gre->version() != kPptpVersion) return true;
  const auto* const pptp = wire::view<wire::PptpGre>(l4);
  if (pptp == nullptr) return true;
  if (gre->protocol() != kPpp) return false;
  tuple.dst_port = pptp->call_id();
  if (keymap != nullptr) tuple.src_port = keymap->find(tuple);
  return true;
}

}  // namespace weir::conntrack
