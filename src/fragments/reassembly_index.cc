#include <cstring>

#include "fragments/reassembly.h"

// Reassembly's books: which datagrams there are, in which order they die.

namespace weir::fragments {
namespace {

std::size_t family_index(const Datagram& datagram) {
  return datagram.key.family == wire::Family::ip ? 0 : 1;
}

}  // namespace

std::uint64_t Reassembly::hash_of(const Key& key) const {
  std::array<std::uint64_t, sizeof(Key) / 8> words;
  std::memcpy(words.data(), &key, sizeof key);
  return siphash13(key_, words);
}

DatagramId& Reassembly::bucket_of(Shard& shard, const Key& key) {
  return shard.buckets[hash_of(key) / kShards % kBuckets];
}

Reassembly::Ages& Reassembly::ages_of(Shard& shard, const Datagram& datagram) {
  return shard.ages[family_index(datagram)];
}

DatagramId Reassembly::find(Shard& shard, const Key& key, Time now) {
  for (DatagramId id = bucket_of(shard, key); id != kNoDatagram;) {
    const Datagram& datagram = store_.datagram(id);
    if (datagram.key == key) {
      if (datagram.deadline > now) return id;
      give_up(shard, id);  // Expired means absent, whenever the clock comes round.
      return kNoDatagram;
    }
    id = datagram.next_in_bucket;
  }
  return kNoDatagram;
}

DatagramId Reassembly::make(Shard& shard, const Key& key, Time now) {
  DatagramId id = store_.make_datagram();
  if (id == kNoDatagram && evict_oldest(shard, kNoDatagram)) id = store_.make_datagram();
  if (id == kNoDatagram) return id;

  Datagram& datagram = store_.datagram(id);
  datagram.key = key;
  datagram.deadline = now + Duration(bounds_of(key.family).timeout.load(std::memory_order_relaxed));
  DatagramId& bucket = bucket_of(shard, key);
  datagram.next_in_bucket = bucket;
  bucket = id;

  Ages& ages = ages_of(shard, datagram);
  datagram.older = ages.newest;
  (ages.newest == kNoDatagram ? ages.oldest : store_.datagram(ages.newest).newer) = id;
  ages.newest = id;
  return id;
}

void Reassembly::unlink(Shard& shard, DatagramId id) {
  Datagram& datagram = store_.datagram(id);
  DatagramId* link = &bucket_of(shard, datagram.key);
  while (*link != id) link = &store_.datagram(*link).next_in_bucket;
  *link = datagram.next_in_bucket;

  Ages& ages = ages_of(shard, datagram);
  (datagram.older == kNoDatagram ? ages.oldest : store_.datagram(datagram.older).newer) =
      datagram.newer;
  (datagram.newer == kNoDatagram ? ages.newest : store_.datagram(datagram.newer).older) =
      datagram.older;
}

void Reassembly::give_up(Shard& shard, DatagramId id) {
  ++shard.counters.failed;
  unlink(shard, id);
  store_.release_datagram(id);
}

/// Gives up the datagram of this shard whose deadline is nearest, other than `spare`.
bool Reassembly::evict_oldest(Shard& shard, DatagramId spare) {
  DatagramId victim = kNoDatagram;
  for (const Ages& ages : shard.ages) {
    DatagramId id = ages.oldest;
    if (id != kNoDatagram && id == spare) id = store_.datagram(id).newer;
    if (id == kNoDatagram) continue;
    if (victim == kNoDatagram || store_.datagram(id).deadline < store_.datagram(victim).deadline) {
      victim = id;
    }
  }
  if (victim == kNoDatagram) return false;
  give_up(shard, victim);
  return true;
}

Reassembly::Expired Reassembly::expire(Time now, packet::Pool& pool,
                                       std::span<packet::Packet*> firsts) {
  Expired expired;
  if (store_.datagram_count() == 0) return expired;
  for (Shard& shard : shards_) {
    const std::lock_guard guard(shard.lock);
    for (Ages& ages : shard.ages) {
      while (ages.oldest != kNoDatagram && store_.datagram(ages.oldest).deadline <= now) {
        if (expired.removed == firsts.size()) return expired;
        const DatagramId id = ages.oldest;
        packet::Packet* const first = first_piece(store_.datagram(id), pool);
        if (first != nullptr) firsts[expired.first_count++] = first;
        ++expired.removed;
        ++shard.counters.timed_out;
        unlink(shard, id);
        store_.release_datagram(id);
      }
    }
  }
  return expired;
}

Counters Reassembly::counters() const {
  Counters total;
  for (const Shard& shard : shards_) {
    const std::lock_guard guard(shard.lock);
    total.received += shard.counters.received;
    total.reassembled += shard.counters.reassembled;
    total.failed += shard.counters.failed;
    total.timed_out += shard.counters.timed_out;
  }
  total.memory_used_bytes = store_.used_bytes();
  return total;
}

}  // namespace weir::fragments
