#include "conntrack/index.h"

#include <algorithm>
#include <bit>
#include <tuple>

namespace weir::conntrack {

Result<Mapping> Index::reserve(std::uint64_t tuples) {
  const auto needed = static_cast<std::uint64_t>(static_cast<double>(tuples) / kSplitLoad) + 1;
  // Twice what the load asks for: splits that are made ahead of their turn must find room as well.
  const std::uint64_t lines = std::max<std::uint64_t>(2 * needed, 2 * kStripes);
  return Mapping::anonymous(lines * sizeof(Line));
}

Index::Index(Mapping memory)
    : mapping_(std::move(memory)),
      lines_(reinterpret_cast<Line*>(mapping_.data())),
      max_lines_(static_cast<std::uint32_t>(mapping_.bytes() / sizeof(Line))),
      shape_(kStripes),
      faulted_lines_(kStripes) {
  mapping_.fault_in(0, kStripes * sizeof(Line));
}

Index::Guard::Guard(const Index& index, std::uint32_t tag, std::uint32_t other_tag)
    : index_(index),
      stripes_{tag % kStripes, mix(tag) % kStripes, other_tag % kStripes,
               mix(other_tag) % kStripes} {
  const auto order = [&](unsigned a, unsigned b) {
    const auto [low, high] = std::minmax(stripes_[a], stripes_[b]);
    std::tie(stripes_[a], stripes_[b]) = std::tuple(low, high);
  };
  order(0, 1);
  order(2, 3);
  order(0, 2);
  order(1, 3);
  order(1, 2);
  count_ = static_cast<unsigned>(std::unique(stripes_.begin(), stripes_.end()) - stripes_.begin());
  for (unsigned i = 0; i < count_; ++i) index_.stripes_[stripes_[i]].lock();
}

Index::Guard::~Guard() {
  for (unsigned i = 0; i < count_; ++i) index_.stripes_[stripes_[i]].unlock();
}

namespace {

/// How many of a line's slots are in use, and one that is not.
template <typename Line>
unsigned used_slots(Line& line, std::atomic<std::uint64_t>*& free) {
  unsigned unused = 0;  // A bit for each.
  for (unsigned i = 0; i < line.slots.size(); ++i) {
    unused |= static_cast<unsigned>(line.slots[i].load(std::memory_order_relaxed) == 0) << i;
  }
  if (unused != 0) free = &line.slots[std::countr_zero(unused)];
  return static_cast<unsigned>(line.slots.size()) - static_cast<unsigned>(std::popcount(unused));
}

}  // namespace

std::atomic<std::uint64_t>* Index::free_slot(std::uint32_t tag) const {
  const std::uint32_t lines = this->lines();
  std::atomic<std::uint64_t>* first = nullptr;
  const unsigned first_used = used_slots(lines_[first_line(tag, lines)], first);
  if (first_used < kCrowded) return first;

  std::atomic<std::uint64_t>* second = nullptr;
  const unsigned second_used = used_slots(lines_[second_line(tag, lines)], second);
  return first_used <= second_used ? first : second;
}

bool Index::move_over(std::uint32_t at, std::atomic<std::uint64_t>& slot, unsigned depth) {
  const std::uint32_t lines = this->lines();
  const std::uint64_t word = slot.load(std::memory_order_relaxed);
  const auto tag = static_cast<std::uint32_t>(word >> 32);
  if (word == 0 || first_line(tag, lines) == second_line(tag, lines)) return false;
  const bool goes_back = first_line(tag, lines) != at;
  SpinLock& stripe = stripes_[(goes_back ? tag : mix(tag)) % kStripes];
  if (!stripe.try_lock()) return false;  // Out of the locking order, so only tried.

  const std::uint32_t now = this->lines();
  const std::uint32_t to = goes_back ? first_line(tag, now) : second_line(tag, now);
  std::atomic<std::uint64_t>* room = nullptr;
  used_slots(lines_[to], room);
  if (room == nullptr && depth > 0) room = make_room(to, depth - 1);
  if (room != nullptr) {
    room->store(word, std::memory_order_release);
    if (goes_back) shape_.fetch_add(std::uint64_t{1} << 32, std::memory_order_acq_rel);
    slot.store(0, std::memory_order_release);
  }
  stripe.unlock();
  return room != nullptr;
}

std::atomic<std::uint64_t>* Index::make_room(std::uint32_t at, unsigned depth) {
  for (auto& slot : lines_[at].slots) {
    if (move_over(at, slot, depth)) return &slot;
  }
  return nullptr;
}

std::atomic<std::uint64_t>* Index::displace(std::uint32_t tag) {
  const std::uint32_t lines = this->lines();
  for (unsigned depth = 0; depth <= kDisplaceDepth; ++depth) {
    for (const std::uint32_t at : {first_line(tag, lines), second_line(tag, lines)}) {
      if (std::atomic<std::uint64_t>* const room = make_room(at, depth)) return room;
    }
  }
  return nullptr;
}

bool Index::insert(std::uint32_t tag, Found found, bool reserved) {
  std::atomic<std::uint64_t>* slot = free_slot(tag);
  if (slot == nullptr) slot = displace(tag);
  if (slot == nullptr) return false;
  slot->store(pack(tag, found, reserved), std::memory_order_release);
  tuples_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

std::atomic<std::uint64_t>* Index::slot_of(std::uint32_t tag, Found found) const {
  const std::uint64_t wanted = pack(tag, found, false);
  const std::uint32_t lines = this->lines();
  for (const std::uint32_t at : {first_line(tag, lines), second_line(tag, lines)}) {
    for (unsigned candidates = slots_with(lines_[at], tag); candidates != 0;
         candidates &= candidates - 1) {
      auto& slot = lines_[at].slots[std::countr_zero(candidates)];
      const std::uint64_t word = slot.load(std::memory_order_relaxed);
      if ((word & ~std::uint64_t{kReserved}) == wanted) return &slot;
    }
  }
  return nullptr;
}

bool Index::erase(std::uint32_t tag, Found found) {
  std::atomic<std::uint64_t>* const slot = slot_of(tag, found);
  if (slot == nullptr) return false;
  slot->store(0, std::memory_order_release);
  tuples_.fetch_sub(1, std::memory_order_relaxed);
  return true;
}

void Index::publish(std::uint32_t tag, Found found) {
  std::atomic<std::uint64_t>* const slot = slot_of(tag, found);
  if (slot != nullptr) slot->store(pack(tag, found, false), std::memory_order_release);
}

void Index::grow(unsigned bound) {
  while (bound-- != 0 && split_next(false)) {
  }
}

void Index::grow_anyway(unsigned count) {
  while (count-- != 0 && split_next(true)) {
  }
}

bool Index::split_next(bool anyway) {
  const auto is_due = [&] {
    const std::uint32_t lines = this->lines();
    return lines < max_lines_ && (anyway || static_cast<double>(tuples()) > kSplitLoad * lines);
  };
  if (!is_due() || !growth_.try_lock()) return false;
  if (!is_due()) {
    growth_.unlock();
    return false;
  }
  const std::uint32_t lines = this->lines();
  const std::uint32_t round = std::bit_floor(lines);
  const std::uint32_t from = lines - round;
  SpinLock& stripe = stripes_[from % kStripes];
  stripe.lock();

  // The copies first. A tuple is in this line by its first address or else by its second.
  std::array<bool, kSlots> moved{};
  for (unsigned i = 0; i < kSlots; ++i) {
    const std::uint64_t word = lines_[from].slots[i].load(std::memory_order_relaxed);
    if (word == 0) continue;
    const auto tag = static_cast<std::uint32_t>(word >> 32);
    const std::uint32_t bits = first_line(tag, lines) == from ? tag : mix(tag);
    if ((bits & round) == 0) continue;
    lines_[lines].slots[i].store(word, std::memory_order_release);
    moved[i] = true;
  }
  shape_.fetch_add(1, std::memory_order_acq_rel);
  for (unsigned i = 0; i < kSlots; ++i) {
    if (moved[i]) lines_[from].slots[i].store(0, std::memory_order_release);
  }

  stripe.unlock();
  growth_.unlock();
  return true;
}

void Index::fault_ahead() {
  constexpr std::uint32_t kStep = 16384;  // A megabyte.
  const std::uint32_t wanted = std::min(max_lines_, lines() + lines() / 4 + kStep);
  if (wanted <= faulted_lines_) return;
  mapping_.fault_in(std::size_t{faulted_lines_} * sizeof(Line),
                    std::size_t{wanted - faulted_lines_} * sizeof(Line));
  faulted_lines_ = wanted;
}

}  // namespace weir::conntrack
