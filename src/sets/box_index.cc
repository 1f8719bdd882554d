#include "sets/box_index.h"

#include <algorithm>
#include <bit>

#include "base/endian.h"

// Problem: a concatenation with ranges (10.0.0.0/8 . tcp . 1024-65535) can be neither hashed nor
// sorted. The kernel's set for it (pipapo) intersects bit maps as long as the set has elements, so
// a look-up grows with the set.
//
// Idea: elements are boxes in as many dimensions as there are fields. A binary tree over them
// keeps, at every node, the box around all that is below; a look-up goes into those nodes only
// whose box contains the key. Nothing is stored twice, so memory is linear, and for boxes that
// don't overlap, as sets have them, few nodes are visited: about the depth of the tree. Each split
// halves the elements, in the field in which the halves overlap least.

namespace weir::sets {
namespace {

constexpr std::uint32_t kLeafBoxes = 4;

std::size_t words_of(std::uint8_t bytes) { return (bytes + 3u) / 4; }

}  // namespace

std::size_t Fields::words() const {
  std::size_t total = 0;
  for (std::size_t f = 0; f < count; ++f) total += words_of(bytes[f]);
  return total;
}

BoxIndex::BoxIndex(const Fields& fields, Bytes lows, Bytes highs)
    : fields_(fields), words_(fields.words()), stride_(2 * words_) {
  std::size_t word = 0;
  for (std::size_t f = 0; f < fields.count; ++f) {
    first_word_[f] = static_cast<std::uint8_t>(word);
    word += words_of(fields.bytes[f]);
  }
  const std::size_t key_bytes = fields.key_bytes();
  const auto count = static_cast<std::uint32_t>(lows.size() / key_bytes);
  boxes_.resize(count * stride_);
  order_.resize(count);
  for (std::uint32_t i = 0; i < count; ++i) {
    const BoxWords low = read(lows.data() + i * key_bytes);
    const BoxWords high = read(highs.data() + i * key_bytes);
    std::copy_n(low.begin(), words_, &boxes_[i * stride_]);
    std::copy_n(high.begin(), words_, &boxes_[i * stride_ + words_]);
    order_[i] = i;
  }
  if (count > 0) build(0, count);
}

BoxWords BoxIndex::read(const std::uint8_t* key) const {
  BoxWords words;
  for (std::size_t w = 0; w < words_; ++w) words[w] = load<Be32>(key + 4 * w).host();
  return words;
}

int BoxIndex::compare_field(std::size_t field, const std::uint32_t* a,
                            const std::uint32_t* b) const {
  const std::size_t begin = first_word_[field];
  const std::size_t end = begin + words_of(fields_.bytes[field]);
  for (std::size_t w = begin; w < end; ++w) {
    if (a[w] != b[w]) return a[w] < b[w] ? -1 : 1;
  }
  return 0;
}

bool BoxIndex::contains(const std::uint32_t* box, const BoxWords& key) const {
  for (std::size_t f = 0; f < fields_.count; ++f) {
    if (compare_field(f, key.data(), box) < 0 || compare_field(f, key.data(), box + words_) > 0) {
      return false;
    }
  }
  return true;
}

/// Builds the subtree of order_[begin..end) and answers with its node's number.
std::uint32_t BoxIndex::build(std::uint32_t begin, std::uint32_t end) {
  const auto at = static_cast<std::uint32_t>(nodes_.size());
  nodes_.push_back({.begin = begin,
                    .end = end,
                    .lowest = *std::min_element(&order_[begin], &order_[begin] + (end - begin))});
  bounds_.insert(bounds_.end(), box(order_[begin]), box(order_[begin]) + stride_);
  for (std::uint32_t i = begin + 1; i < end; ++i) {
    const std::uint32_t* const low = box(order_[i]);
    const std::uint32_t* const high = low + words_;
    std::uint32_t* const around = &bounds_[at * stride_];
    for (std::size_t f = 0; f < fields_.count; ++f) {
      const std::size_t word = first_word_[f];
      const std::size_t words = words_of(fields_.bytes[f]);
      if (compare_field(f, low, around) < 0) std::copy_n(low + word, words, around + word);
      if (compare_field(f, high, around + words_) > 0) {
        std::copy_n(high + word, words, around + words_ + word);
      }
    }
  }
  if (end - begin <= kLeafBoxes) return at;

  const std::uint32_t field = split_field(begin, end);
  const std::uint32_t middle = begin + (end - begin) / 2;
  std::nth_element(
      order_.begin() + begin, order_.begin() + middle, order_.begin() + end,
      [&](std::uint32_t a, std::uint32_t b) { return compare_field(field, box(a), box(b)) < 0; });
  build(begin, middle);
  const std::uint32_t right = build(middle, end);
  nodes_[at].right = right;
  return at;
}

/// The field in which the fewest boxes reach from the lower half (by their low ends) into the upper
/// one, judged by a sample.
std::uint32_t BoxIndex::split_field(std::uint32_t begin, std::uint32_t end) {
  constexpr std::uint32_t kSample = 64;
  const std::uint32_t step = std::max(1u, (end - begin) / kSample);
  std::vector<std::uint32_t> sample;
  for (std::uint32_t i = begin; i < end; i += step) sample.push_back(order_[i]);

  std::uint32_t best = 0;
  std::size_t least = SIZE_MAX;
  for (std::uint32_t f = 0; f < fields_.count; ++f) {
    const auto middle = sample.begin() + static_cast<std::ptrdiff_t>(sample.size() / 2);
    std::nth_element(sample.begin(), middle, sample.end(), [&](std::uint32_t a, std::uint32_t b) {
      return compare_field(f, box(a), box(b)) < 0;
    });
    const auto reaching =
        static_cast<std::size_t>(std::count_if(sample.begin(), middle, [&](std::uint32_t number) {
          return compare_field(f, box(number) + words_, box(*middle)) >= 0;
        }));
    if (reaching < least) {
      least = reaching;
      best = f;
    }
  }
  return best;
}

std::size_t BoxIndex::memory_bytes() const {
  return 4 * (boxes_.capacity() + order_.capacity() + bounds_.capacity()) +
         sizeof(Node) * nodes_.capacity();
}

void BoxForest::insert(Bytes low, Bytes high) {
  std::uint32_t first = count_++;
  std::vector<std::uint8_t> lows;
  std::vector<std::uint8_t> highs;
  // As in binary counting: parts of equal size carry over into the next larger one.
  std::size_t keep = parts_.size();
  for (std::uint32_t carry = first; carry & 1; carry >>= 1) first = parts_[--keep]->first;
  for (std::size_t p = keep; p < parts_.size(); ++p) {
    lows.insert(lows.end(), parts_[p]->lows.begin(), parts_[p]->lows.end());
    highs.insert(highs.end(), parts_[p]->highs.begin(), parts_[p]->highs.end());
  }
  lows.insert(lows.end(), low.begin(), low.end());
  highs.insert(highs.end(), high.begin(), high.end());
  parts_.resize(keep);
  BoxIndex index(fields_, lows, highs);
  parts_.push_back(std::make_unique<Part>(Part{.first = first,
                                               .lows = std::move(lows),
                                               .highs = std::move(highs),
                                               .index = std::move(index)}));
}

}  // namespace weir::sets
