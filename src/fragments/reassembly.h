#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <span>

#include "base/clock.h"
#include "base/siphash.h"
#include "fragments/store.h"
#include "packet/packet.h"
#include "packet/pool.h"

namespace weir::fragments {

/// What may be changed while packets pass. Both families share the memory: a piece is kept while no
/// more than its own family's bound is in use by both.
struct Bounds {
  std::size_t ip_bytes = std::size_t{4} << 20;      // ipfrag_high_thresh.
  std::size_t ip6_bytes = std::size_t{4} << 20;     // nf_conntrack_frag6_high_thresh.
  Duration ip_timeout = std::chrono::seconds(30);   // ipfrag_time.
  Duration ip6_timeout = std::chrono::seconds(60);  // nf_conntrack_frag6_timeout.
};

struct Limits {
  std::size_t memory_bytes = std::size_t{4} << 20;  // Allocated once; bounds beyond mean this.
};

/// What has happened to fragments. A consistent enough copy for statistics.
struct Counters {
  std::uint64_t received = 0;     // Fragments given to gather().
  std::uint64_t reassembled = 0;  // Datagrams.
  std::uint64_t failed = 0;       // Datagrams given up: overlap, malformed, evicted.
  std::uint64_t timed_out = 0;    // Datagrams whose last piece didn't come in time.
  std::size_t memory_used_bytes = 0;
};

/// Puts datagrams together again, for all workers of an engine: pieces of one datagram may arrive
/// by different queues. Thread-safe; locks are held for the copy of one piece.
///
/// Matches the kernel's defragmentation for connection tracking (nf_defrag_ipv4, nf_conntrack_reasm
/// over inet_fragment): RFC 791, RFC 815, RFC 5722, RFC 8200 section 4.5, RFC 3168 section 5.3.
/// Unlike the kernel, which refuses all fragments while its memory is full, weir gives up the
/// oldest datagram.
class Reassembly {
 public:
  /// `key` is random per boot. Memory is allocated here, once.
  Reassembly(const Limits& limits, const HashKey& key);

  /// Takes a fragment (Packet::is_fragment, headers checked) and its buffer. Returns the whole
  /// datagram when this piece completed it: a packet of `pool` with the metadata of the first
  /// piece, headers as if it had never been cut, fragment_count, _max_bytes, _had_df and
  /// piece_bytes() filled in. Otherwise null, and `why` is Drop::none when the piece waits (or was
  /// a duplicate), else the reason for its drop.
  ///
  /// `user` keeps apart what must not be mixed (the kernel's defrag users): 0 for what comes from
  /// the wire. The fragment is released to `pool`, which it must have come from.
  packet::Packet* gather(packet::Packet* fragment, std::uint16_t user, Time now, packet::Pool& pool,
                         packet::Drop& why);

  /// Gives up datagrams whose time is over, at most as many as `firsts` has room for, and returns
  /// how many of `firsts` it has filled: first pieces as they came, from `pool`, for those
  /// datagrams that have one. Their owner may answer them with ICMP time exceeded code 1: IPv4 only
  /// when the destination is the host itself (ip_expire), IPv6 always (RFC 8200 section 4.5).
  /// `removed` is the number of datagrams given up; call again when it equals the room.
  struct Expired {
    std::size_t first_count = 0;
    std::size_t removed = 0;
  };
  Expired expire(Time now, packet::Pool& pool, std::span<packet::Packet*> firsts);

  /// For the control thread.
  void set_bounds(const Bounds& bounds);

  Counters counters() const;

 private:
  static constexpr std::size_t kShards = 16;
  static constexpr std::size_t kBuckets = 64;  // A shard's.

  /// Datagrams of one family by the arrival of their first piece, which is the order of their
  /// deadlines.
  struct Ages {
    DatagramId oldest = kNoDatagram;
    DatagramId newest = kNoDatagram;
  };
  struct Shard {
    mutable std::mutex lock;  // Guards everything in the shard and the datagrams that hang in it.
    std::array<DatagramId, kBuckets> buckets{};
    std::array<Ages, 2> ages;  // IPv4, IPv6.
    Counters counters;
  };
  struct Arrival;
  enum class Added : std::uint8_t { waits, complete, duplicate, refused };

  static bool read_ip(const packet::Packet& packet, Arrival& arrival);
  static bool read_ip6(const packet::Packet& packet, Arrival& arrival);
  std::uint64_t hash_of(const Key& key) const;
  DatagramId& bucket_of(Shard& shard, const Key& key);
  Ages& ages_of(Shard& shard, const Datagram& datagram);

  DatagramId find(Shard& shard, const Key& key, Time now);
  DatagramId make(Shard& shard, const Key& key, Time now);
  Added add(Shard& shard, DatagramId id, const Arrival& arrival, packet::Drop& why);
  bool fits_ends(const Datagram& datagram, const Arrival& arrival) const;
  PieceId keep(Shard& shard, DatagramId id, Bytes bytes);
  bool keep_headers(Shard& shard, DatagramId id, const Arrival& arrival);
  void unlink(Shard& shard, DatagramId id);
  void give_up(Shard& shard, DatagramId id);
  bool evict_oldest(Shard& shard, DatagramId spare);
  packet::Packet* assemble(const Datagram& datagram, packet::Pool& pool, packet::Drop& why);
  packet::Packet* first_piece(const Datagram& datagram, packet::Pool& pool);

  /// Bounds, as anybody reads them.
  struct LiveBounds {
    std::atomic<std::size_t> bytes{0};
    std::atomic<Duration::rep> timeout{0};
  };
  LiveBounds& bounds_of(wire::Family family) { return bounds_[family == wire::Family::ip ? 0 : 1]; }

  std::array<LiveBounds, 2> bounds_;  // IPv4, IPv6.
  HashKey key_;
  Store store_;
  std::array<Shard, kShards> shards_;
};

}  // namespace weir::fragments
