#include "base/timing_wheel.h"

#include <algorithm>
#include <bit>

namespace weir {

unsigned TimingWheel::slot_for(std::uint64_t due) const {
  const std::uint64_t ahead = due - current_;
  if (ahead < kSlots) return due % kSlots;
  // The last slot of a revolution stays unused, so that a slot that is firing is never added to.
  if (ahead < (kSlots - 1) * kSlots) return kSlots + (due >> kSlotBits) % kSlots;
  const std::uint64_t furthest = current_ + ((kSlots - 2) << (2 * kSlotBits));
  return 2 * kSlots + (std::min(due, furthest) >> (2 * kSlotBits)) % kSlots;
}

void TimingWheel::add(std::uint32_t number, Time deadline, Time now) {
  if (size_ == 0) current_ = std::max(current_, tick(now));
  const std::uint64_t due = std::max(current_, tick(deadline) + 1);
  const unsigned slot = slot_for(due);
  Slot& list = slots_[slot];
  if (list.head == 0) {
    list.head = number;
    links_[number].prev = kEnd | slot;
    used_[slot / 64] |= std::uint64_t{1} << slot % 64;
  } else {
    links_[list.tail].next = number;
    links_[number].prev = list.tail;
  }
  list.tail = number;
  links_[number].next = kEnd | slot;
  ++size_;
}

void TimingWheel::remove(std::uint32_t number) {
  const WheelLink link = links_[number];
  if ((link.prev & kEnd) != 0) {
    const unsigned slot = link.prev & ~kEnd;
    if ((link.next & kEnd) != 0) {
      slots_[slot] = {};
      used_[slot / 64] &= ~(std::uint64_t{1} << slot % 64);
    } else {
      slots_[slot].head = link.next;
    }
  } else {
    links_[link.prev].next = link.next;
  }
  if ((link.next & kEnd) == 0) {
    links_[link.next].prev = link.prev;
  } else if ((link.prev & kEnd) == 0) {
    slots_[link.next & ~kEnd].tail = link.prev;
  }
  links_[number] = {};
  --size_;
}

bool TimingWheel::earliest_of(unsigned level, Place& place) const {
  const unsigned shift = level * kSlotBits;
  // The first slot of the level whose first tick is still to come, counted in that level's slots.
  const std::uint64_t from = (current_ + ((std::uint64_t{1} << shift) - 1)) >> shift;
  const unsigned start = from % kSlots;
  const std::uint64_t* const words = &used_[level * kSlots / 64];
  for (unsigned i = 0; i <= kSlots / 64; ++i) {
    const unsigned index = (start / 64 + i) % (kSlots / 64);
    std::uint64_t word = words[index];
    if (i == 0) word &= ~std::uint64_t{0} << start % 64;
    if (word == 0) continue;
    const unsigned slot = index * 64 + static_cast<unsigned>(std::countr_zero(word));
    place.slot = level * kSlots + slot;
    place.tick = (from + (slot - start) % kSlots) << shift;
    return true;
  }
  return false;
}

TimingWheel::Place TimingWheel::earliest() const {
  Place best{~std::uint64_t{0}, 0};
  for (unsigned level = 0; level < kLevels; ++level) {
    Place place;
    if (earliest_of(level, place) && place.tick < best.tick) best = place;
  }
  return best;
}

Time TimingWheel::next_due() const {
  if (size_ == 0) return Time::max();
  return Time(Duration(static_cast<Duration::rep>(earliest().tick << kTickShift)));
}

}  // namespace weir
