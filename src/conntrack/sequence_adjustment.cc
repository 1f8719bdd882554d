#include "conntrack/sequence_adjustment.h"

#include <algorithm>

namespace weir::conntrack {
namespace {

/// Wrapping numbers: `a` is behind `b`, or there.
bool has_reached(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b) >= 0; }

}  // namespace

bool SequenceAdjustment::add(std::uint32_t begin, std::uint16_t length, std::int32_t change) {
  if (count_ != 0 && has_reached(begin_[count_ - 1], begin)) return false;
  if (count_ == kMost) forget_oldest();
  begin_[count_] = begin;
  length_[count_] = length;
  change_[count_] = change;
  ++count_;
  return true;
}

void SequenceAdjustment::forget_oldest() {
  base_ += change_[0];
  std::copy(begin_.begin() + 1, begin_.end(), begin_.begin());
  std::copy(change_.begin() + 1, change_.end(), change_.begin());
  std::copy(length_.begin() + 1, length_.end(), length_.begin());
  --count_;
}

bool SequenceAdjustment::has_begin(std::uint32_t sent) const {
  const auto end = begin_.begin() + count_;
  return std::find(begin_.begin(), end, sent) != end;
}

std::uint32_t SequenceAdjustment::offset_of(std::uint32_t sent) const {
  auto offset = static_cast<std::uint32_t>(base_);
  for (std::size_t i = 0; i < count_; ++i) {
    if (has_reached(sent, begin_[i] + length_[i])) offset += static_cast<std::uint32_t>(change_[i]);
  }
  return offset;
}

std::uint32_t SequenceAdjustment::sent(std::uint32_t seen) const {
  auto offset = static_cast<std::uint32_t>(base_);
  for (std::size_t i = 0; i < count_; ++i) {
    const std::uint32_t plain = seen - offset;
    if (!has_reached(plain, begin_[i] + 1)) return plain;
    const std::uint32_t after = offset + static_cast<std::uint32_t>(change_[i]);
    if (!has_reached(seen - after, begin_[i] + length_[i])) return begin_[i];
    offset = after;
  }
  return seen - offset;
}

SequenceAdjustment::Summary SequenceAdjustment::summary() const {
  std::int32_t before = base_;
  if (count_ == 0) return {.position = 0, .before = before, .after = before};
  for (std::size_t i = 0; i + 1 < count_; ++i) before += change_[i];
  return {.position = begin_[count_ - 1], .before = before, .after = before + change_[count_ - 1]};
}

void SequenceAdjustment::set(const Summary& summary) {
  *this = {};
  base_ = summary.before;
  add(summary.position, 1, summary.after - summary.before);
}

}  // namespace weir::conntrack
