#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"

namespace weir::sets {

/// The sorted boundaries of disjoint intervals over big-endian keys of one length: which boundary
/// is the last at or before a key. Built once and then constant, so readers need nothing but a
/// pointer to it; whoever changes an interval set builds a new one. What a boundary means (an
/// interval begins or ends here, and what it maps to) is kept by the owner in arrays of the same
/// order.
class IntervalIndex {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;

  /// `keys`: the boundaries' keys one after another, ascending; equal ones may stand side by side.
  IntervalIndex(std::uint16_t key_bytes, std::vector<std::uint8_t> keys);

  /// The last boundary whose key is not greater than `key`; kNone when there is none.
  std::uint32_t floor(Bytes key) const;

  std::uint32_t size() const { return count_; }
  Bytes key(std::uint32_t boundary) const {
    return {keys_.data() + std::size_t{boundary} * key_bytes_, key_bytes_};
  }
  std::size_t memory_bytes() const { return keys_.capacity(); }

 private:
  std::uint16_t key_bytes_;
  std::uint32_t count_;
  std::vector<std::uint8_t> keys_;
};

}  // namespace weir::sets
