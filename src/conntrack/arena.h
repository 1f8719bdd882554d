#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

#include "base/boot_id.h"
#include "base/mapping.h"
#include "base/siphash.h"
#include "base/spin.h"
#include "conntrack/entry.h"

namespace weir::conntrack {

/// The memory of all entries, named by number from 1 on: one mapping, a header page and then the
/// entries. With a file or memfd under it, an engine that is started again in the same boot maps
/// the same bytes and goes on (Table::create); the header says whether it may.
///
/// Free numbers: each worker keeps its own list (FreeList) and trades chunks with the shared pool
/// here, so that creating and destroying connections rarely meets another worker.
class Arena {
 public:
  /// Free numbers of one worker, linked through Entry::link, most recently freed first.
  struct FreeList {
    std::uint32_t head = 0;
    std::uint32_t count = 0;
  };

  /// Whose bytes a file holds.
  enum class Origin : std::uint8_t {
    nothing,       // Nobody's: it is empty.
    this_boot,     // An engine's before us: they can be used.
    other_boot,    // An engine's of another boot, whose clock and devices were others.
    other_layout,  // An engine's of this boot, but another version of weir.
    foreign,       // Somebody else's, or damaged.
  };
  static Result<Origin> inspect(int fd);

  /// For `capacity` entries, or as many as the file was made for, if that is more. `fd` as in
  /// TableOptions::arena_fd. What another boot or another layout has left is forgotten. Errors:
  /// what mapping says; EINVAL for a foreign file.
  static Result<Arena> open(std::uint32_t capacity, int fd, const std::optional<HashKey>& key);

  Arena(Arena&&) noexcept;
  Arena& operator=(Arena&&) = delete;

  Entry& operator[](std::uint32_t number) const { return entries_[number]; }
  std::uint32_t capacity() const { return capacity_; }
  const HashKey& key() const { return header().key; }
  /// Numbers below this have been used at some time.
  std::uint32_t used_end() const { return header().used_end.load(std::memory_order_acquire); }
  /// Whether the mapping came with entries of an engine before us in this boot.
  bool is_recovered() const { return is_recovered_; }

  /// A number, zero when all are in use. The entry's generation is a new one, the rest is as it was
  /// left.
  std::uint32_t take(FreeList& list);
  void give(FreeList& list, std::uint32_t number);

  WheelLinks wheel_links() const;
  /// Backs memory ahead of take(); a control thread's.
  void fault_ahead();
  std::uint64_t memory_bytes() const;

 private:
  struct Header {
    std::uint64_t magic = 0;
    std::uint32_t layout_version = 0;
    std::uint32_t entry_bytes = 0;
    std::uint32_t capacity = 0;
    BootId boot_id{};
    HashKey key;
    std::atomic<std::uint32_t> used_end{0};
  };
  static_assert(sizeof(Header) <= 4096);
  static constexpr std::size_t kHeaderBytes = 4096;
  static constexpr std::uint32_t kChunk = 64;  // Numbers that change hands at once.

  static std::size_t bytes_of(std::uint32_t capacity);
  Arena(Mapping mapping, std::uint32_t capacity, bool is_recovered);
  Header& header() const { return *reinterpret_cast<Header*>(mapping_.data()); }
  bool take_chunk(FreeList& list);

  Mapping mapping_;
  Entry* entries_;  // entries_[0] is the header page's last 256 bytes, never used.
  std::uint32_t capacity_;
  bool is_recovered_;
  SpinLock pool_lock_;             // Guards `pool_head_` and the growth of `used_end`.
  std::uint32_t pool_head_ = 0;    // First numbers of chunks, linked through Entry::wheel.next.
  std::uint32_t faulted_end_ = 0;  // The control thread's.
};

}  // namespace weir::conntrack
