#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/clock.h"

namespace weir {

/// A wheel's links inside each thing that can hang on it. `next` and `prev` name things by number.
struct WheelLink {
  std::uint32_t next = 0;
  std::uint32_t prev = 0;
};

/// Where the links lie: thing `number` has its own at first + number * stride_bytes.
struct WheelLinks {
  std::uint8_t* first = nullptr;
  std::size_t stride_bytes = 0;
  WheelLink& operator[](std::uint32_t number) const {
    return *reinterpret_cast<WheelLink*>(first + number * stride_bytes);
  }
};

/// Deadlines of millions of things, lazily. A thing hangs in the slot where its deadline was when
/// it was added; whoever moves the deadline later writes only the new deadline. When the slot's
/// time comes the thing fires, and its owner looks: due, or to be added again.
///
/// Three levels of 256 slots: ticks of 134 ms for the next 34 seconds, then 34-second slots for 2.4
/// hours, then 2.4-hour slots for 25 days; later deadlines fire there and are added again. A slot
/// of the upper levels fires when its first tick comes, which spreads its things over the level
/// below. Nothing fires before its deadline's tick has passed unless through an upper level.
///
/// Owned and used by one thread. Numbers are 1 to 2^31 - 1.
class TimingWheel {
 public:
  explicit TimingWheel(WheelLinks links) : links_(links) {}

  /// Requires: `number` hangs on no wheel. `now` starts an empty wheel.
  void add(std::uint32_t number, Time deadline, Time now);
  /// Requires: `number` hangs on this wheel. Its link is zero afterwards.
  void remove(std::uint32_t number);
  /// Whether the thing with this link hangs on a wheel.
  static bool hangs(const WheelLink& link) { return link.next != 0; }
  std::size_t size() const { return size_; }

  /// Takes off up to `budget` things whose slot has come and calls `fire(number)` for each, which
  /// may add it again. What the budget does not reach stays due. Returns how many fired.
  template <typename Fire>
  std::size_t turn(Time now, std::size_t budget, Fire&& fire) {
    const std::uint64_t now_tick = tick(now);
    std::size_t fired = 0;
    while (size_ != 0) {
      const Place place = earliest();
      if (place.tick > now_tick) break;
      if (place.tick > current_) current_ = place.tick;
      if (fired == budget) return fired;
      const std::uint32_t number = slots_[place.slot].head;
      remove(number);
      ++fired;
      fire(number);
    }
    if (now_tick >= current_) current_ = now_tick + 1;
    return fired;
  }

  /// What would fire first, zero when the wheel is empty; in constant time.
  std::uint32_t first() const { return size_ == 0 ? 0 : slots_[earliest().slot].head; }
  /// When turn() has something to do at the latest; Time::max() when empty.
  Time next_due() const;

 private:
  static constexpr unsigned kTickShift = 27;
  static constexpr unsigned kSlotBits = 8;
  static constexpr unsigned kSlots = 1u << kSlotBits;
  static constexpr unsigned kLevels = 3;
  static constexpr std::uint32_t kEnd = 0x80000000;  // A link to the slot in the low bits.

  struct Slot {
    std::uint32_t head = 0;
    std::uint32_t tail = 0;
  };
  struct Place {
    std::uint64_t tick;  // When the slot fires.
    unsigned slot;
  };

  static std::uint64_t tick(Time time) {
    return static_cast<std::uint64_t>(time.time_since_epoch().count()) >> kTickShift;
  }
  /// The first slot that fires. Requires: not empty.
  Place earliest() const;
  /// The first slot of `level` that isn't empty, if there is one.
  bool earliest_of(unsigned level, Place& place) const;
  unsigned slot_for(std::uint64_t due) const;

  WheelLinks links_;
  std::uint64_t current_ = 0;  // Every earlier tick has fired.
  std::size_t size_ = 0;
  std::array<Slot, kLevels * kSlots> slots_{};
  std::array<std::uint64_t, kLevels * kSlots / 64> used_{};  // A bit a slot that isn't empty.
};

}  // namespace weir
