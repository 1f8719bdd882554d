#pragma once

#include <array>
#include <atomic>
#include <bit>
#include <cstdint>
#include <optional>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#include "base/error.h"
#include "base/mapping.h"
#include "base/spin.h"
#include "conntrack/tuple.h"

namespace weir::conntrack {

/// What the index holds for a tuple: an entry's number and which of its tuples it is.
struct Found {
  std::uint32_t number = 0;
  Direction direction = Direction::original;
};

/// The index from tuples to entries: linear hashing over one reserved mapping of 64-byte lines of
/// eight slots.
///
/// A slot is one 64-bit word: the tuple's 32-bit tag, and what it stands for (30 bits of entry
/// number, the direction, and whether it is only a reservation that look-ups of packets pass over).
/// The tag is the tuple's keyed hash and places it: of `lines` lines, in (tag mod 2^k), or where
/// the present round has not split yet in (tag mod 2^(k-1)). Late in a round the lines that have
/// not been split hold twice what the others do, so every tuple has a second line, which a mix of
/// its tag places; an insert prefers the first while it is not crowded, then the emptier one, and
/// when both are full moves a tuple in one of them over to its other line, if need be after moving
/// another out of that. A look-up therefore reads one line mostly, two for a miss, never more.
/// Where even that finds no room the caller splits the index ahead of its turn (grow_anyway) a few
/// times, and then must do without.
///
/// Growth is one line at a time: line s of the 2^k of the round gives up to a new line, s + 2^k,
/// what the longer address sends there. No rehash: the tag says it.
///
/// Synchronisation. Look-ups take no lock. Whoever changes a line holds its stripe: lines whose
/// numbers agree in the low bits share one, and as the index never has fewer lines than stripes, a
/// tuple's stripes follow from its tag alone and never change; a line and the one it splits into
/// have the same. Stripes are locked in ascending order; the growth lock comes before a stripe and
/// is only ever tried. A split stores the copies, then publishes the new number of lines, then
/// clears the old slots: a look-up that misses because of it sees the number changed and looks
/// again. Moving a tuple from its second line to its first counts in the same word for the same
/// reason; from first to second is the order in which look-ups read. A hit needs no check, since
/// the caller compares the tuple, which never changes while its entry can be found.
class Index {
 public:
  static constexpr unsigned kSlots = 8;

  /// The address space for up to `tuples` tuples. Errors: there is none.
  static Result<Mapping> reserve(std::uint64_t tuples);
  explicit Index(Mapping memory);

  /// Where a tuple's hash puts it.
  static std::uint32_t tag_of(std::uint64_t hash) { return static_cast<std::uint32_t>(hash); }

  void prefetch(std::uint32_t tag) const { __builtin_prefetch(&lines_[first_line(tag, lines())]); }
  void prefetch_second(std::uint32_t tag) const {
    __builtin_prefetch(&lines_[second_line(tag, lines())]);
  }

  /// The first published slot of the first line that has this tag, without looking further or at
  /// the tuple: a hit mostly. Number zero: none.
  Found guess(std::uint32_t tag) const {
    const Line& line = lines_[first_line(tag, lines())];
    for (unsigned candidates = slots_with(line, tag); candidates != 0;
         candidates &= candidates - 1) {
      const std::uint64_t word =
          line.slots[std::countr_zero(candidates)].load(std::memory_order_acquire);
      if (is_published(word, tag)) return unpack(word);
    }
    return {};
  }

  /// The published slot with `tag` for which `matches(Found)` is true.
  template <typename Matches>
  std::optional<Found> find(std::uint32_t tag, Matches&& matches, std::uint32_t* restarts) const {
    std::uint64_t shape = shape_.load(std::memory_order_acquire);
    for (;;) {
      const auto lines = static_cast<std::uint32_t>(shape);
      const std::uint32_t first = first_line(tag, lines);
      const std::uint32_t second = second_line(tag, lines);
      if (const auto found = find_in(lines_[first], tag, matches)) return found;
      if (second != first) {
        if (const auto found = find_in(lines_[second], tag, matches)) return found;
      }
      const std::uint64_t again = shape_.load(std::memory_order_acquire);
      if (again == shape) return std::nullopt;
      shape = again;
      ++*restarts;
    }
  }

  /// The locks of one or two tuples' stripes, held in its scope.
  class Guard {
   public:
    Guard(const Index& index, std::uint32_t tag) : Guard(index, tag, tag) {}
    Guard(const Index& index, std::uint32_t tag, std::uint32_t other_tag);
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    const Index& index_;
    std::array<std::uint32_t, 4> stripes_;
    unsigned count_;
  };

  // Under the tag's Guard:

  /// Like find(), but reservations count as well; `matches(Found)`.
  template <typename Matches>
  std::optional<Found> find_locked(std::uint32_t tag, Matches&& matches) const {
    const std::uint32_t lines = this->lines();
    for (const std::uint32_t at : {first_line(tag, lines), second_line(tag, lines)}) {
      for (unsigned candidates = slots_with(lines_[at], tag); candidates != 0;
           candidates &= candidates - 1) {
        const std::uint64_t word =
            lines_[at].slots[std::countr_zero(candidates)].load(std::memory_order_relaxed);
        if (word != 0 && matches(unpack(word))) return unpack(word);
      }
    }
    return std::nullopt;
  }
  /// False when both lines are full of tuples that have nowhere else to go.
  bool insert(std::uint32_t tag, Found found, bool reserved);
  /// False when it was not there.
  bool erase(std::uint32_t tag, Found found);
  /// Turns a reservation into a published slot.
  void publish(std::uint32_t tag, Found found);

  // Without any Guard:

  /// Splits lines while the index is fuller than it should be, at most `bound` of them.
  void grow(unsigned bound);
  /// Splits `count` lines whether it is needed or not.
  void grow_anyway(unsigned count);

  std::uint32_t lines() const {
    return static_cast<std::uint32_t>(shape_.load(std::memory_order_acquire));
  }
  std::uint64_t tuples() const { return tuples_.load(std::memory_order_relaxed); }
  void fault_ahead();
  std::uint64_t memory_bytes() const { return std::uint64_t{lines()} * sizeof(Line); }

 private:
  struct alignas(64) Line {
    std::array<std::atomic<std::uint64_t>, kSlots> slots;
  };
  static_assert(sizeof(Line) == 64);

  static constexpr std::uint32_t kStripes = 1024;
  static constexpr std::uint32_t kReserved = 0x80000000;
  static constexpr std::uint32_t kReply = 0x40000000;
  static constexpr std::uint32_t kNumber = 0x3fffffff;
  /// Tuples a line at which the next one is split: two slots a connection, 16 bytes at this load
  /// are 24 bytes a connection.
  static constexpr double kSplitLoad = 5.4;
  static constexpr unsigned kDisplaceDepth = 2;
  static constexpr unsigned kCrowded = 7;  // Slots in use from which the emptier line is preferred.

  static Found unpack(std::uint64_t word) {
    const auto low = static_cast<std::uint32_t>(word);
    return {low & kNumber, (low & kReply) != 0 ? Direction::reply : Direction::original};
  }
  static std::uint64_t pack(std::uint32_t tag, Found found, bool reserved) {
    return std::uint64_t{tag} << 32 | found.number |
           (found.direction == Direction::reply ? kReply : 0) | (reserved ? kReserved : 0);
  }

  static std::uint32_t address(std::uint32_t bits, std::uint32_t lines) {
    const std::uint32_t round = std::bit_floor(lines);
    const std::uint32_t line = bits & (2 * round - 1);
    return line < lines ? line : line & (round - 1);
  }
  /// The tag's bits in another order; a bijection, so equal tags stay equal and others differ.
  static std::uint32_t mix(std::uint32_t tag) {
    tag ^= tag >> 16;
    tag *= 0x7feb352d;
    tag ^= tag >> 15;
    tag *= 0x846ca68b;
    return tag ^ tag >> 16;
  }
  static std::uint32_t first_line(std::uint32_t tag, std::uint32_t lines) {
    return address(tag, lines);
  }
  static std::uint32_t second_line(std::uint32_t tag, std::uint32_t lines) {
    return address(mix(tag), lines);
  }

  template <typename Matches>
  static std::optional<Found> find_in(const Line& line, std::uint32_t tag, Matches&& matches) {
    for (unsigned candidates = slots_with(line, tag); candidates != 0;
         candidates &= candidates - 1) {
      const std::uint64_t word =
          line.slots[std::countr_zero(candidates)].load(std::memory_order_acquire);
      if (!is_published(word, tag)) continue;
      const Found found = unpack(word);
      if (matches(found)) return found;
    }
    return std::nullopt;
  }

  static bool is_published(std::uint64_t word, std::uint32_t tag) {
    return word >> 32 == tag && (word & kReserved) == 0 && (word & kNumber) != 0;
  }

  /// Which of a line's slots have this tag, a bit for each: which are worth a look. All eight are
  /// compared at once where vectors can, each slot as it was at some moment, in the order of the
  /// acquiring loads that stand for them elsewhere: x86 keeps loads in order, the fence keeps the
  /// compiler from moving them.
  static unsigned slots_with(const Line& line, std::uint32_t tag) {
#if defined(__SSE2__) && !defined(__SANITIZE_THREAD__)
    const auto* const at = reinterpret_cast<const __m128i*>(line.slots.data());
    const auto tags_of = [](__m128i first, __m128i second) {  // The high halves of four slots.
      return _mm_castps_si128(_mm_shuffle_ps(_mm_castsi128_ps(first), _mm_castsi128_ps(second),
                                             _MM_SHUFFLE(3, 1, 3, 1)));
    };
    const __m128i wanted = _mm_set1_epi32(static_cast<int>(tag));
    const __m128i low =
        _mm_cmpeq_epi32(tags_of(_mm_load_si128(at), _mm_load_si128(at + 1)), wanted);
    const __m128i high =
        _mm_cmpeq_epi32(tags_of(_mm_load_si128(at + 2), _mm_load_si128(at + 3)), wanted);
    std::atomic_signal_fence(std::memory_order_acquire);
    return static_cast<unsigned>(_mm_movemask_ps(_mm_castsi128_ps(low))) |
           static_cast<unsigned>(_mm_movemask_ps(_mm_castsi128_ps(high))) << 4;
#else
    unsigned found = 0;
    for (unsigned i = 0; i < kSlots; ++i) {
      const std::uint64_t word = line.slots[i].load(std::memory_order_acquire);
      found |= static_cast<unsigned>(word >> 32 == tag) << i;
    }
    return found;
#endif
  }

  bool split_next(bool anyway);
  std::atomic<std::uint64_t>* free_slot(std::uint32_t tag) const;
  /// Makes room in one of the tag's full lines; null when that can't be done.
  std::atomic<std::uint64_t>* displace(std::uint32_t tag);
  /// Frees a slot of a full line whose stripe is held, by moving a tuple to its other line; where
  /// that is full as well, `depth` says how many lines further a chain of such moves may reach.
  std::atomic<std::uint64_t>* make_room(std::uint32_t at, unsigned depth);
  bool move_over(std::uint32_t at, std::atomic<std::uint64_t>& slot, unsigned depth);
  std::atomic<std::uint64_t>* slot_of(std::uint32_t tag, Found found) const;

  const Mapping mapping_;
  Line* const lines_;
  const std::uint32_t max_lines_;
  /// Low half: lines in use, which also says where the next split is. High half: counts the tuples
  /// that were moved to an earlier place in the order of look-ups.
  std::atomic<std::uint64_t> shape_;
  std::uint32_t faulted_lines_;  // The control thread's.
  alignas(64) std::atomic<std::uint64_t> tuples_{0};
  SpinLock growth_;
  alignas(64) mutable std::array<SpinLock, kStripes> stripes_;
};

}  // namespace weir::conntrack
