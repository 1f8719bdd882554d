#include "fragments/store.h"

#include <algorithm>
#include <cstring>

namespace weir::fragments {
namespace {

// A datagram that waits holds at least a piece and the first one's headers.
constexpr std::size_t kChunksPerDatagram = 4;

}  // namespace

Store::Store(std::size_t memory_bytes)
    : chunk_count_(std::max<std::size_t>(memory_bytes / kChunkBytes, kChunksPerDatagram)),
      memory_(std::make_unique<std::uint8_t[]>((chunk_count_ + 1) * kChunkBytes)),
      next_chunk_(chunk_count_ + 1),
      pieces_(chunk_count_ + 1),
      datagrams_(chunk_count_ / kChunksPerDatagram + 1) {
  // Number zero of each is "none".
  for (std::uint32_t i = static_cast<std::uint32_t>(chunk_count_); i > 0; --i) {
    next_chunk_[i] = free_chunk_;
    free_chunk_ = i;
  }
  free_chunks_ = chunk_count_;
  free_datagrams_.reserve(datagrams_.size());
  for (DatagramId i = static_cast<DatagramId>(datagrams_.size() - 1); i > 0; --i) {
    free_datagrams_.push_back(i);
  }
}

PieceId Store::keep(Bytes bytes, std::size_t bound_bytes) {
  const std::size_t needed = chunks_for(bytes.size());
  PieceId first = kNoPiece;
  {
    const std::lock_guard guard(lock_);
    const std::size_t used_chunks = chunk_count_ - free_chunks_ + needed;
    if (free_chunks_ < needed || used_chunks * kChunkBytes > bound_bytes) return kNoPiece;
    first = free_chunk_;
    std::uint32_t last = first;
    for (std::size_t i = 1; i < needed; ++i) last = next_chunk_[last];
    free_chunk_ = next_chunk_[last];
    next_chunk_[last] = 0;
    free_chunks_ -= needed;
  }
  pieces_[first] = Piece{.bytes = static_cast<std::uint32_t>(bytes.size())};
  for (std::uint32_t chunk = first; !bytes.empty(); chunk = next_chunk_[chunk]) {
    const std::size_t count = std::min(bytes.size(), kChunkBytes);
    std::memcpy(&memory_[chunk * kChunkBytes], bytes.data(), count);
    bytes = bytes.subspan(count);
  }
  return first;
}

void Store::copy_out(PieceId piece, std::uint8_t* to) const {
  std::size_t left = pieces_[piece].bytes;
  for (std::uint32_t chunk = piece; left != 0; chunk = next_chunk_[chunk]) {
    const std::size_t count = std::min(left, kChunkBytes);
    std::memcpy(to, &memory_[chunk * kChunkBytes], count);
    to += count;
    left -= count;
  }
}

void Store::release(PieceId piece) {
  if (piece == kNoPiece) return;
  const std::size_t count = chunks_for(pieces_[piece].bytes);
  const std::lock_guard guard(lock_);
  std::uint32_t last = piece;
  for (std::size_t i = 1; i < count; ++i) last = next_chunk_[last];
  next_chunk_[last] = free_chunk_;
  free_chunk_ = piece;
  free_chunks_ += count;
}

DatagramId Store::make_datagram() {
  DatagramId id = kNoDatagram;
  {
    const std::lock_guard guard(lock_);
    if (free_datagrams_.empty()) return kNoDatagram;
    id = free_datagrams_.back();
    free_datagrams_.pop_back();
  }
  datagrams_[id] = Datagram{};
  datagram_count_.fetch_add(1, std::memory_order_relaxed);
  return id;
}

void Store::release_datagram(DatagramId id) {
  Datagram& datagram = datagrams_[id];
  for (PieceId piece = datagram.first_piece; piece != kNoPiece;) {
    const PieceId next = pieces_[piece].next;
    release(piece);
    piece = next;
  }
  release(datagram.headers);
  datagram_count_.fetch_sub(1, std::memory_order_relaxed);
  const std::lock_guard guard(lock_);
  free_datagrams_.push_back(id);
}

std::size_t Store::used_bytes() const {
  const std::lock_guard guard(lock_);
  return (chunk_count_ - free_chunks_) * kChunkBytes;
}

}  // namespace weir::fragments
