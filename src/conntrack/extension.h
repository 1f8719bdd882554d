#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/error.h"
#include "base/mapping.h"
#include "base/spin.h"
#include "conntrack/expectation.h"
#include "conntrack/sequence_adjustment.h"
#include "conntrack/tuple.h"

namespace weir::conntrack {

/// The rare state of a connection, beside its entry: plain data without pointers, named by
/// Entry::extension (0: none) and made by Tracker::extend(). Most connections have none.
///
/// Who writes: like the entry. Until it is confirmed the worker that made the entry, alone;
/// afterwards workers only, under the entry's lock with the entry's `sequence` odd meanwhile, by
/// words (store_words, std::atomic_ref), so that Table::snapshot() copies it consistently.
/// `expectation_*` are guarded by the lock of the expectations instead. An entry keeps its
/// extension until both are used again after an epoch.
///
/// Status bit status::kNeedsExtension in the entry's hot line is set when packets of the connection
/// must look in here (a helper, sequence adjustment, a timeout policy): everybody else pays one
/// branch.
struct alignas(8) Extension {
  static constexpr std::size_t kLabelBytes = 16;     // The kernel's NF_CT_LABELS_MAX_SIZE.
  static constexpr std::size_t kClasses = 4;         // Of expectations a helper may have.
  using HelperState = std::array<std::uint64_t, 4>;  // What a helper may remember.

  std::uint32_t link = 0;        // In the free list.
  std::uint32_t chunk_link = 0;  // In the pool, from chunk to chunk.

  alignas(8) std::array<std::uint8_t, kLabelBytes> labels{};
  std::uint32_t secmark = 0;
  std::uint16_t timeout_policy = 0;  // By number in the tracker's list; zero: the sysctls hold.
  // The helper (helpers/list.h numbers them from 1 on; zero: none) and what it remembers.
  std::uint16_t helper = 0;
  HelperState helper_state{};

  // TCP numbers of a SYN proxy that another engine has kept: ISN, timestamp, its offset, and one
  // when they have been told. Carried for tools that replicate; weir has no SYN proxy.
  std::array<std::uint32_t, 4> synproxy{};

  // What payload rewriting did to sequence numbers, by the direction of the rewritten packets.
  std::array<SequenceAdjustment, 2> sequence;

  // Of a connection that was expected: whose helper expected it. The master may have gone since;
  // its number then has another generation, but its original tuple is still told. Written before
  // the entry is confirmed, only.
  std::uint32_t master = 0;
  std::uint32_t master_generation = 0;
  Tuple master_tuple;  // Family none: no master.
  ExpectedNat nat;     // How it is to be translated.
  std::uint32_t master_helper = 0;

  // The expectations that this connection is master of: the first one's number and how many there
  // are, by class. Guarded by the lock of the expectations.
  std::uint32_t expectation_head = 0;
  std::array<std::uint16_t, kClasses> expectation_counts{};

  bool has_master() const { return master_tuple.family != wire::Family::none; }
};
static_assert(std::is_trivially_copyable_v<Extension> && sizeof(Extension) % 8 == 0);

/// What is shown of an extension, as a consistent copy of an entry has it (Snapshot). Zeros where
/// there is none.
struct Rare {
  std::array<std::uint8_t, Extension::kLabelBytes> labels{};
  std::uint32_t secmark = 0;
  std::uint16_t timeout_policy = 0;
  std::uint16_t helper = 0;
  std::array<std::uint32_t, 4> synproxy{};
  std::array<SequenceAdjustment::Summary, 2> sequence{};
  std::uint32_t master = 0;
  std::uint32_t master_generation = 0;
  Tuple master_tuple{};  // Family none: no master.

  bool has_master() const { return master_tuple.family != wire::Family::none; }
};

/// Whether what a file holds can have been written by an engine.
bool is_sound(const Extension& extension);

/// Reads it while workers may write.
Rare rare_of(const Extension& extension);

/// The memory of all extensions, numbered from 1 on: one mapping, a header page and then the
/// records; of a file or memfd where the entries' arena has one, so that a restarted engine finds
/// them again. Numbers and free lists as in Arena: a worker has a list of its own and trades chunks
/// with the pool here.
class Extensions {
 public:
  struct FreeList {
    std::uint32_t head = 0;
    std::uint32_t count = 0;
  };

  /// `fd` below 0: anonymous memory. `is_recovered`: the arena of entries came with entries, whose
  /// extensions are to be kept; else what the file holds is forgotten. Errors: what mapping says.
  static Result<Extensions> open(std::uint32_t capacity, int fd, bool is_recovered);
  /// Whether the file brought the extensions of an engine before us: those that entries name.
  bool is_recovered() const { return is_recovered_; }

  Extensions(Extensions&&) noexcept;
  Extensions& operator=(Extensions&&) = delete;

  Extension& operator[](std::uint32_t number) const { return records_[number]; }
  std::uint32_t capacity() const { return capacity_; }
  std::uint32_t used_end() const { return header().used_end.load(std::memory_order_acquire); }

  /// A fresh record, zero when all are in use.
  std::uint32_t take(FreeList& list);
  void give(FreeList& list, std::uint32_t number);
  std::uint64_t memory_bytes() const;

 private:
  struct Header {
    std::uint64_t magic = 0;
    std::uint32_t layout_version = 0;
    std::uint32_t record_bytes = 0;
    std::uint32_t capacity = 0;
    std::atomic<std::uint32_t> used_end{0};
  };
  static constexpr std::size_t kHeaderBytes = 4096;
  static constexpr std::uint32_t kChunk = 16;  // Numbers that change hands at once.

  Extensions(Mapping mapping, std::uint32_t capacity, bool is_recovered);
  Header& header() const { return *reinterpret_cast<Header*>(mapping_.data()); }
  bool take_chunk(FreeList& list);

  Mapping mapping_;
  Extension* records_;  // records_[0] lies in the header page and is never used.
  std::uint32_t capacity_;
  bool is_recovered_;
  SpinLock pool_lock_;           // Guards `pool_head_` and the growth of `used_end`.
  std::uint32_t pool_head_ = 0;  // First numbers of chunks, linked through `chunk_link`.
};

}  // namespace weir::conntrack
