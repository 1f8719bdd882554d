#pragma once

#include <cstddef>

#include "packet/packet.h"
#include "packet/pool.h"

namespace weir::packet {

/// Cuts a GSO packet into frames of at most gso.segment_bytes payload, with finished checksums: TCP
/// with sequence numbers, FIN and PSH on the last only, CWR on the first only (RFC 3168), IPv4 ids
/// counting up; UDP with a header each (UDP_SEGMENT). `emit(Packet*)` gets each segment, whose
/// owner it becomes; they come from `pool`. The big packet itself is untouched and stays the
/// caller's. VLAN tags and other metadata are copied.
///
/// Returns how many segments were made; fewer than the payload needs when the pool ran dry (the
/// rest is lost, as on a full queue). Zero when the packet's headers and its GSO type don't agree.
template <typename Emit>
std::size_t segment(const Packet& big, Pool& pool, Emit&& emit);

/// One after the other: what segment() is made of.
class Segmenter {
 public:
  explicit Segmenter(const Packet& big);
  /// False when the packet can't be cut: offsets outside, wrong protocol, no payload.
  bool is_valid() const { return is_valid_; }
  std::size_t segment_count() const;
  bool is_done() const { return done_bytes_ >= payload_bytes_; }
  /// The next segment; null when the pool has no buffer.
  Packet* next(Pool& pool);

 private:
  void finish_headers(Packet& segment, std::size_t payload_bytes) const;

  const Packet& big_;
  std::size_t header_bytes_ = 0;  // Ethernet to the end of the transport header.
  std::size_t payload_bytes_ = 0;
  std::size_t done_bytes_ = 0;
  std::size_t index_ = 0;
  bool is_valid_ = false;
};

template <typename Emit>
std::size_t segment(const Packet& big, Pool& pool, Emit&& emit) {
  Segmenter segmenter(big);
  if (!segmenter.is_valid()) return 0;
  std::size_t made = 0;
  while (!segmenter.is_done()) {
    Packet* const part = segmenter.next(pool);
    if (part == nullptr) break;
    ++made;
    emit(part);
  }
  return made;
}

}  // namespace weir::packet
