#include "fragments/reassembly.h"

#include <algorithm>
#include <cstring>

#include "wire/ethernet.h"
#include "wire/ipv4.h"
#include "wire/ipv6.h"

// Theory. A datagram is found by its key in one of 16 shards, each with its own lock, and holds its
// pieces as a list in order of their offsets. Bytes are copied into the Store at once, so that the
// packet goes back to the pool of the worker that received it, and whichever worker receives the
// last piece builds the whole from its own pool: buffers never cross workers. Lock order: shard,
// then store.
//
// Any overlap gives up the whole datagram, also for IPv4: a filter that looks at one copy of bytes
// while the receiver takes the other is the classic evasion. A piece that lies wholly inside a run
// of pieces that arrived one after the other is taken for a duplicate and ignored, as the kernel
// does (inet_frag_queue_insert).
//
// Memory is bounded by the Store. When it is full, the oldest datagram of the same shard is given
// up for the newest, so that a flood can't stop reassembly for half a minute, which is what
// refusing all would do.

namespace weir::fragments {
namespace {

constexpr std::size_t kIpMaxBytes = 65535;

/// RFC 3168 section 5.3: the whole's ECN code point by those of its pieces (bits 0 to 3: Not-ECT,
/// ECT(1), ECT(0), CE). Not-ECT mixed with any other can't be right. `from_first` when the first
/// piece's stays.
enum class Ecn : std::uint8_t { from_first, congestion, invalid };
Ecn combine_ecn(std::uint8_t seen) {
  constexpr std::uint8_t kNotEct = 1 << 0;
  constexpr std::uint8_t kCe = 1 << 3;
  if ((seen & kNotEct) != 0) return seen == kNotEct ? Ecn::from_first : Ecn::invalid;
  return (seen & kCe) != 0 ? Ecn::congestion : Ecn::from_first;
}

}  // namespace

/// What a fragment says of itself.
struct Reassembly::Arrival {
  Key key;
  const packet::Packet* packet = nullptr;
  Bytes payload;
  std::uint32_t offset = 0;
  bool is_last = false;
  bool has_df = false;
  std::uint8_t ecn = 0;
  std::uint32_t header_bytes = 0;    // Of the IP header and what must precede the payload.
  std::uint32_t next_header_at = 0;  // IPv6, see Datagram.
  std::uint8_t next_header = 0;

  std::uint32_t end() const { return offset + static_cast<std::uint32_t>(payload.size()); }
  std::uint32_t datagram_bytes() const {
    return header_bytes + static_cast<std::uint32_t>(payload.size());
  }
};

Reassembly::Reassembly(const Limits& limits, const HashKey& key)
    : key_(key), store_(limits.memory_bytes) {
  set_bounds({});
}

void Reassembly::set_bounds(const Bounds& bounds) {
  bounds_[0].bytes.store(bounds.ip_bytes, std::memory_order_relaxed);
  bounds_[0].timeout.store(bounds.ip_timeout.count(), std::memory_order_relaxed);
  bounds_[1].bytes.store(bounds.ip6_bytes, std::memory_order_relaxed);
  bounds_[1].timeout.store(bounds.ip6_timeout.count(), std::memory_order_relaxed);
}

bool Reassembly::read_ip(const packet::Packet& packet, Arrival& arrival) {
  const Bytes l3 = packet.l3();
  const auto& ip = wire::at<wire::Ipv4>(l3.data());
  arrival.key.src = ip.src_address();
  arrival.key.dst = ip.dst_address();
  arrival.key.id = ip.id().raw;
  arrival.key.protocol = ip.protocol();
  arrival.offset = ip.fragment_offset_bytes();
  arrival.is_last = !ip.has_more();
  arrival.has_df = ip.has_df();
  arrival.ecn = ip.ecn();
  arrival.header_bytes = static_cast<std::uint32_t>(ip.header_bytes());
  arrival.payload = l3.subspan(arrival.header_bytes);
  // All but the last are multiples of eight; what a sender appends beyond that is cut off.
  if (!arrival.is_last)
    arrival.payload = arrival.payload.first(arrival.payload.size() & ~std::size_t{7});
  return true;
}

bool Reassembly::read_ip6(const packet::Packet& packet, Arrival& arrival) {
  const Bytes l3 = packet.l3();
  const wire::Ipv6Chain chain = wire::walk_chain(l3);
  if (!chain.has_fragment_header) return false;
  const auto& ip = wire::at<wire::Ipv6>(l3.data());
  const auto& fragment = wire::at<wire::Ipv6Fragment>(&l3[chain.fragment_offset]);
  arrival.key.src = ip.src_address();
  arrival.key.dst = ip.dst_address();
  arrival.key.id = fragment.id().raw;
  arrival.key.ifindex = packet.in_ifindex;
  arrival.offset = fragment.offset_bytes();
  arrival.is_last = !fragment.has_more();
  arrival.ecn = ip.ecn();
  arrival.header_bytes = chain.fragment_offset + std::uint32_t{sizeof(wire::Ipv6Fragment)};
  arrival.next_header_at = chain.fragment_previous;
  arrival.next_header = fragment.next_header();
  arrival.payload = l3.subspan(arrival.header_bytes);
  // RFC 8200 section 4.5: otherwise the fragment must be discarded.
  return arrival.is_last || arrival.payload.size() % 8 == 0;
}

packet::Packet* Reassembly::gather(packet::Packet* fragment, std::uint16_t user, Time now,
                                   packet::Pool& pool, packet::Drop& why) {
  why = packet::Drop::none;
  Arrival arrival;
  arrival.packet = fragment;
  arrival.key.family = fragment->family;
  arrival.key.user = user;
  const bool is_readable = fragment->family == wire::Family::ip ? read_ip(*fragment, arrival)
                                                                : read_ip6(*fragment, arrival);
  if (!is_readable) {
    why = packet::Drop::fragment_malformed;
    pool.release(fragment);
    return nullptr;
  }

  Shard& shard = shards_[hash_of(arrival.key) % kShards];
  DatagramId complete = kNoDatagram;
  {
    const std::lock_guard guard(shard.lock);
    ++shard.counters.received;
    DatagramId id = find(shard, arrival.key, now);
    if (id == kNoDatagram) id = make(shard, arrival.key, now);
    if (id == kNoDatagram) {
      why = packet::Drop::fragment_memory;
    } else if (add(shard, id, arrival, why) == Added::complete) {
      unlink(shard, id);
      complete = id;
    }
  }
  pool.release(fragment);
  if (complete == kNoDatagram) return nullptr;

  // Out of the index it is this worker's alone.
  packet::Packet* const whole = assemble(store_.datagram(complete), pool, why);
  store_.release_datagram(complete);
  const std::lock_guard guard(shard.lock);
  ++(whole != nullptr ? shard.counters.reassembled : shard.counters.failed);
  return whole;
}

bool Reassembly::fits_ends(const Datagram& datagram, const Arrival& arrival) const {
  if (arrival.is_last) {
    return arrival.end() >= datagram.length &&
           (!datagram.has_last || arrival.end() == datagram.length);
  }
  return !datagram.has_last || arrival.end() <= datagram.length;
}

Reassembly::Added Reassembly::add(Shard& shard, DatagramId id, const Arrival& arrival,
                                  packet::Drop& why) {
  Datagram& datagram = store_.datagram(id);
  const bool is_ip = arrival.key.family == wire::Family::ip;
  const std::size_t whole_bytes = is_ip ? arrival.header_bytes + arrival.end()
                                        : arrival.header_bytes - sizeof(wire::Ipv6) -
                                              sizeof(wire::Ipv6Fragment) + arrival.end();
  if (arrival.payload.empty() || whole_bytes > kIpMaxBytes || !fits_ends(datagram, arrival)) {
    why = packet::Drop::fragment_malformed;
    // IPv4 gives up the datagram, IPv6 only this piece (ip_frag_queue, nf_ct_frag6_queue).
    if (is_ip || datagram.piece_count == 0) give_up(shard, id);
    return Added::refused;
  }

  // Where it belongs: after `before`, or in front of all.
  PieceId before = datagram.last_piece;
  bool starts_run = true;
  if (before != kNoPiece) {
    const Piece& tail = store_.piece(before);
    if (tail.offset + tail.bytes < arrival.end()) {
      starts_run = arrival.offset != tail.offset + tail.bytes;
      if (arrival.offset < tail.offset + tail.bytes) {
        why = packet::Drop::fragment_overlap;
        give_up(shard, id);
        return Added::refused;
      }
    } else {
      before = kNoPiece;
      for (PieceId run = datagram.first_piece; run != kNoPiece;) {
        const std::uint32_t run_begin = store_.piece(run).offset;
        PieceId run_last = run;
        PieceId next = store_.piece(run).next;
        for (; next != kNoPiece && !store_.piece(next).starts_run; next = store_.piece(next).next) {
          run_last = next;
        }
        const std::uint32_t run_end = store_.piece(run_last).offset + store_.piece(run_last).bytes;
        if (arrival.end() <= run_begin) break;
        if (arrival.offset < run_end) {
          if (arrival.offset >= run_begin && arrival.end() <= run_end) return Added::duplicate;
          why = packet::Drop::fragment_overlap;
          give_up(shard, id);
          return Added::refused;
        }
        before = run_last;
        run = next;
      }
    }
  }

  if (datagram.piece_count == packet::kMaxPieces) {
    why = packet::Drop::fragment_memory;
    give_up(shard, id);
    return Added::refused;
  }
  if (arrival.offset == 0 && !keep_headers(shard, id, arrival)) {
    why = packet::Drop::fragment_memory;
    if (datagram.piece_count == 0) give_up(shard, id);
    return Added::refused;
  }
  const PieceId piece = keep(shard, id, arrival.payload);
  if (piece == kNoPiece) {
    why = packet::Drop::fragment_memory;
    if (datagram.piece_count == 0) give_up(shard, id);
    return Added::refused;
  }

  Piece& added = store_.piece(piece);
  added.offset = arrival.offset;
  added.starts_run = starts_run;
  PieceId& link = before == kNoPiece ? datagram.first_piece : store_.piece(before).next;
  added.next = link;
  link = piece;
  if (added.next == kNoPiece) datagram.last_piece = piece;

  ++datagram.piece_count;
  datagram.received += added.bytes;
  datagram.length = std::max(datagram.length, arrival.end());
  datagram.has_last |= arrival.is_last;
  datagram.ecn_seen |= static_cast<std::uint8_t>(1U << arrival.ecn);
  datagram.max_bytes = std::max(datagram.max_bytes, arrival.datagram_bytes());
  if (arrival.has_df)
    datagram.max_df_bytes = std::max(datagram.max_df_bytes, arrival.datagram_bytes());

  const bool is_complete =
      datagram.has_last && datagram.headers != kNoPiece && datagram.received == datagram.length;
  return is_complete ? Added::complete : Added::waits;
}

PieceId Reassembly::keep(Shard& shard, DatagramId id, Bytes bytes) {
  const std::size_t bound =
      bounds_of(store_.datagram(id).key.family).bytes.load(std::memory_order_relaxed);
  PieceId piece = store_.keep(bytes, bound);
  while (piece == kNoPiece && evict_oldest(shard, id)) piece = store_.keep(bytes, bound);
  return piece;
}

bool Reassembly::keep_headers(Shard& shard, DatagramId id, const Arrival& arrival) {
  const packet::Packet& packet = *arrival.packet;
  Datagram& datagram = store_.datagram(id);
  if (datagram.headers != kNoPiece)
    return true;  // Kept with a first piece that had no room itself.
  const std::size_t bytes = packet.l3_offset + arrival.header_bytes;
  datagram.headers = keep(shard, id, packet.bytes().first(bytes));
  if (datagram.headers == kNoPiece) return false;
  datagram.first = packet;
  datagram.header_bytes = static_cast<std::uint32_t>(bytes);
  datagram.next_header_at = arrival.next_header_at;
  datagram.next_header = arrival.next_header;
  return true;
}

packet::Packet* Reassembly::assemble(const Datagram& datagram, packet::Pool& pool,
                                     packet::Drop& why) {
  const Ecn ecn = combine_ecn(datagram.ecn_seen);
  if (ecn == Ecn::invalid) {
    why = packet::Drop::fragment_malformed;
    return nullptr;
  }
  const bool is_ip = datagram.key.family == wire::Family::ip;
  const std::uint32_t headers =
      datagram.header_bytes - (is_ip ? 0 : std::uint32_t{sizeof(wire::Ipv6Fragment)});
  const std::uint32_t frame_bytes = headers + datagram.length;
  packet::Packet* const whole = pool.take(frame_bytes + 2U * datagram.piece_count);
  if (whole == nullptr) {
    why = packet::Drop::buffers_exhausted;
    return nullptr;
  }
  whole->take_metadata(datagram.first);
  whole->length = frame_bytes;

  store_.copy_out(datagram.headers, whole->frame());
  std::uint8_t* to = whole->frame() + headers;
  std::size_t index = 0;
  for (PieceId id = datagram.first_piece; id != kNoPiece; id = store_.piece(id).next) {
    store_.copy_out(id, to);
    to += store_.piece(id).bytes;
    whole->set_piece_bytes(index++, static_cast<std::uint16_t>(store_.piece(id).bytes));
  }

  whole->ip_length = frame_bytes - whole->l3_offset;
  whole->is_fragment = false;
  whole->is_later_fragment = false;
  whole->checksum = packet::Checksum::unknown;
  whole->fragment_count = datagram.piece_count;
  whole->fragment_max_bytes =
      static_cast<std::uint16_t>(std::min<std::size_t>(datagram.max_bytes, kIpMaxBytes));
  whole->fragment_had_df = datagram.max_df_bytes == datagram.max_bytes;

  std::uint8_t* const l3 = whole->frame() + whole->l3_offset;
  if (is_ip) {
    auto& ip = wire::at<wire::Ipv4>(l3);
    ip.set_total_bytes(static_cast<std::uint16_t>(whole->ip_length));
    ip.set_fragment_field(whole->fragment_had_df ? wire::Ipv4::kDontFragment : 0);
    if (ecn == Ecn::congestion) ip.set_tos(ip.tos() | 3);
    ip.fill_checksum();
    whole->l4_offset = static_cast<std::uint16_t>(whole->l3_offset + ip.header_bytes());
    return whole;
  }
  auto& ip = wire::at<wire::Ipv6>(l3);
  l3[datagram.next_header_at] = datagram.next_header;
  ip.set_payload_bytes(static_cast<std::uint16_t>(whole->ip_length - sizeof(wire::Ipv6)));
  if (ecn == Ecn::congestion) ip.raw[1] |= 0x30;
  const wire::Ipv6Chain chain = wire::walk_chain(whole->l3());
  whole->l4_protocol = chain.protocol;
  whole->l4_offset = static_cast<std::uint16_t>(
      whole->l3_offset + (chain.is_malformed ? whole->ip_length : chain.transport_offset));
  return whole;
}

packet::Packet* Reassembly::first_piece(const Datagram& datagram, packet::Pool& pool) {
  const PieceId id = datagram.first_piece;
  if (datagram.headers == kNoPiece || id == kNoPiece || store_.piece(id).offset != 0)
    return nullptr;
  const std::uint32_t bytes = datagram.header_bytes + store_.piece(id).bytes;
  packet::Packet* const first = pool.take(bytes);
  if (first == nullptr) return nullptr;
  first->take_metadata(datagram.first);
  first->length = bytes;
  first->ip_length = bytes - first->l3_offset;
  store_.copy_out(datagram.headers, first->frame());
  store_.copy_out(id, first->frame() + datagram.header_bytes);
  return first;
}

}  // namespace weir::fragments
