#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/bytes.h"

namespace weir::sets {

/// How a concatenated key is divided: each field has a length in bytes and begins at a multiple of
/// four (as nf_tables lays concatenations out in registers). Fields compare as big-endian numbers.
struct Fields {
  static constexpr std::size_t kMax = 16;
  static constexpr std::size_t kMaxWords = 16;

  std::array<std::uint8_t, kMax> bytes{};
  std::uint8_t count = 0;

  std::size_t words() const;
  std::size_t key_bytes() const { return words() * 4; }
};

/// A key as numbers, word by word.
using BoxWords = std::array<std::uint32_t, Fields::kMaxWords>;

/// Elements that are ranges in every field of a concatenation, that is boxes: which of them contain
/// a key. Built once and then constant. See box_index.cc for how.
class BoxIndex {
 public:
  static constexpr std::uint32_t kNone = UINT32_MAX;

  /// `lows` and `highs`: keys one after another, each of `fields.key_bytes()`; box i has the i-th
  /// of both.
  BoxIndex(const Fields& fields, Bytes lows, Bytes highs);

  /// The box with the lowest number that contains the key and that `accept(number)` takes; or
  /// kNone.
  template <typename Accept>
  std::uint32_t find(Bytes key, Accept&& accept) const;

  std::uint32_t size() const { return static_cast<std::uint32_t>(order_.size()); }
  std::size_t memory_bytes() const;

 private:
  struct Node {
    std::uint32_t right =
        0;  // Number of the right child (the left one follows the node); zero: a leaf.
    std::uint32_t begin = 0;  // Leaf: its boxes in order_.
    std::uint32_t end = 0;
    std::uint32_t lowest = 0;  // The lowest number of a box below.
  };

  std::uint32_t build(std::uint32_t begin, std::uint32_t end);
  std::uint32_t split_field(std::uint32_t begin, std::uint32_t end);
  bool contains(const std::uint32_t* box, const BoxWords& key) const;
  BoxWords read(const std::uint8_t* key) const;
  const std::uint32_t* box(std::uint32_t number) const { return &boxes_[number * stride_]; }
  int compare_field(std::size_t field, const std::uint32_t* a, const std::uint32_t* b) const;

  Fields fields_;
  std::array<std::uint8_t, Fields::kMax> first_word_{};
  std::size_t words_ = 0;
  std::size_t stride_ = 0;             // Words of a box: its low corner, then its high corner.
  std::vector<std::uint32_t> boxes_;   // By number.
  std::vector<std::uint32_t> order_;   // Numbers in the order of the leaves.
  std::vector<Node> nodes_;            // Depth first.
  std::vector<std::uint32_t> bounds_;  // By node: the box around everything below.
};

template <typename Accept>
std::uint32_t BoxIndex::find(Bytes key, Accept&& accept) const {
  std::uint32_t best = kNone;
  if (nodes_.empty()) return best;
  const BoxWords sought = read(key.data());
  std::array<std::uint32_t, 64> stack;  // The tree is balanced: at most 32 deep.
  std::size_t depth = 0;
  stack[depth++] = 0;
  while (depth > 0) {
    const std::uint32_t at = stack[--depth];
    const Node& node = nodes_[at];
    if (node.lowest >= best || !contains(&bounds_[at * stride_], sought)) continue;
    if (node.right != 0) {
      stack[depth++] = node.right;
      stack[depth++] = at + 1;
      continue;
    }
    for (std::uint32_t i = node.begin; i < node.end; ++i) {
      const std::uint32_t number = order_[i];
      if (number < best && contains(box(number), sought) && accept(number)) best = number;
    }
  }
  return best;
}

/// Boxes that are still being added: what BoxIndex does, with insertion. A few indexes of doubling
/// size, so that an insertion costs the logarithm of a look-up's work on average. One thread.
class BoxForest {
 public:
  explicit BoxForest(const Fields& fields) : fields_(fields) {}

  void insert(Bytes low, Bytes high);
  std::uint32_t size() const { return count_; }

  /// Some box that contains the key and that `accept(number)` takes, numbered in the order of
  /// insertion; or kNone.
  template <typename Accept>
  std::uint32_t find(Bytes key, Accept&& accept) const {
    std::uint32_t best = BoxIndex::kNone;
    for (const auto& part : parts_) {
      const std::uint32_t found =
          part->index.find(key, [&](std::uint32_t number) { return accept(part->first + number); });
      if (found != BoxIndex::kNone && part->first + found < best) best = part->first + found;
    }
    return best;
  }

 private:
  struct Part {
    std::uint32_t first;
    std::vector<std::uint8_t> lows;
    std::vector<std::uint8_t> highs;
    BoxIndex index;
  };

  Fields fields_;
  std::uint32_t count_ = 0;
  std::vector<std::unique_ptr<Part>> parts_;
};

}  // namespace weir::sets
