#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "packet/packet.h"
#include "wire/address.h"

namespace weir::fragments {

/// Numbers of pieces and datagrams in the Store; zero is none.
using PieceId = std::uint32_t;
using DatagramId = std::uint32_t;
inline constexpr PieceId kNoPiece = 0;
inline constexpr DatagramId kNoDatagram = 0;

/// What makes fragments belong together. Packed without padding: it hashes and compares as bytes.
struct Key {
  wire::Address src;
  wire::Address dst;
  std::uint32_t id = 0;       // As it lies in the header.
  std::uint32_t ifindex = 0;  // IPv6 with link-local or multicast destination, else zero.
  std::uint16_t user = 0;
  wire::Family family = wire::Family::none;
  std::uint8_t protocol = 0;  // IPv4 only: in IPv6 the pieces may disagree (RFC 8200 section 4.5).
  std::uint32_t unused = 0;
  bool operator==(const Key&) const = default;
};
static_assert(sizeof(Key) == 48);

/// One piece's place in its datagram.
struct Piece {
  std::uint32_t offset = 0;
  std::uint32_t bytes = 0;
  PieceId next = kNoPiece;
  bool starts_run = false;  // False when it came right after, and adjacent to, the piece before it.
};

/// A datagram that waits for pieces. Guarded by the lock of the shard that it hangs in.
struct Datagram {
  Key key;
  DatagramId next_in_bucket = kNoDatagram;
  DatagramId older = kNoDatagram;
  DatagramId newer = kNoDatagram;
  Time deadline{};

  PieceId first_piece = kNoPiece;  // In order of their offsets.
  PieceId last_piece = kNoPiece;
  std::uint16_t piece_count = 0;
  std::uint32_t length = 0;    // The end of the farthest piece.
  std::uint32_t received = 0;  // Bytes; complete when equal to length, with both ends there.
  bool has_last = false;
  std::uint8_t ecn_seen = 0;       // Bit per ECN code point.
  std::uint32_t max_bytes = 0;     // The largest piece with its header,
  std::uint32_t max_df_bytes = 0;  // and the largest of those with DF.

  packet::Packet first;        // The first piece's metadata (its buffer is gone),
  PieceId headers = kNoPiece;  // and its frame up to the payload, kept like a piece.
  std::uint32_t header_bytes = 0;
  std::uint32_t next_header_at = 0;  // IPv6: where, from the IP header, what follows is named,
  std::uint8_t next_header = 0;      // and what that will be without the fragment header.
};

/// Memory for waiting pieces: a fixed number of fixed-size chunks, chained for what is longer, and
/// of datagrams. Thread-safe by one lock held for a few instructions.
class Store {
 public:
  static constexpr std::size_t kChunkBytes = 512;

  explicit Store(std::size_t memory_bytes);

  /// Copies bytes into chunks; kNoPiece when too few are free, or more than `bound_bytes` would be
  /// in use. The piece's offset, next and so on are the caller's to fill in.
  PieceId keep(Bytes bytes, std::size_t bound_bytes);
  void copy_out(PieceId piece, std::uint8_t* to) const;
  void release(PieceId piece);

  DatagramId make_datagram();
  /// Releases its pieces too.
  void release_datagram(DatagramId id);

  Piece& piece(PieceId id) { return pieces_[id]; }
  const Piece& piece(PieceId id) const { return pieces_[id]; }
  Datagram& datagram(DatagramId id) { return datagrams_[id]; }
  const Datagram& datagram(DatagramId id) const { return datagrams_[id]; }

  std::size_t used_bytes() const;
  /// Datagrams that exist; may be slightly old.
  std::size_t datagram_count() const { return datagram_count_.load(std::memory_order_relaxed); }

 private:
  static std::size_t chunks_for(std::size_t bytes) {
    return bytes == 0 ? 1 : (bytes + kChunkBytes - 1) / kChunkBytes;
  }

  std::size_t chunk_count_;
  std::unique_ptr<std::uint8_t[]> memory_;
  std::vector<std::uint32_t> next_chunk_;  // By chunk: the next of its chain or of the free list.
  std::vector<Piece> pieces_;              // By a chain's first chunk.
  std::vector<Datagram> datagrams_;
  std::vector<DatagramId> free_datagrams_;

  mutable std::mutex lock_;  // Guards the free lists and the count.
  std::uint32_t free_chunk_ = 0;
  std::size_t free_chunks_ = 0;
  std::atomic<std::size_t> datagram_count_ = 0;
};

}  // namespace weir::fragments
