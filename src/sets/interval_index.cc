#include "sets/interval_index.h"

#include <cstring>
#include <utility>

#include "base/endian.h"

namespace weir::sets {
namespace {

/// How many of the `count` keys at `keys` are not greater than `key`: a binary search whose only
/// branch is its loop, which takes the same number of turns for every key.
template <typename Compare>
std::uint32_t count_up_to(const std::uint8_t* keys, std::size_t key_bytes, std::uint32_t count,
                          Compare is_not_greater) {
  std::uint32_t begin = 0;
  while (count > 1) {
    const std::uint32_t half = count / 2;
    begin += is_not_greater(keys + std::size_t{begin + half - 1} * key_bytes) ? half : 0;
    count -= half;
  }
  return begin + (count == 1 && is_not_greater(keys + std::size_t{begin} * key_bytes) ? 1 : 0);
}

template <typename T>
T number(const std::uint8_t* at) {
  return load<BigEndian<T>>(at).host();
}

struct Wide {
  std::uint64_t high;
  std::uint64_t low;
  auto operator<=>(const Wide&) const = default;
};

Wide wide(const std::uint8_t* at) {
  return {number<std::uint64_t>(at), number<std::uint64_t>(at + 8)};
}

}  // namespace

IntervalIndex::IntervalIndex(std::uint16_t key_bytes, std::vector<std::uint8_t> keys)
    : key_bytes_(key_bytes),
      count_(static_cast<std::uint32_t>(keys.size() / key_bytes)),
      keys_(std::move(keys)) {}

std::uint32_t IntervalIndex::floor(Bytes key) const {
  const auto count_with = [&](auto is_not_greater) {
    return count_up_to(keys_.data(), key_bytes_, count_, is_not_greater) - 1;
  };
  switch (key_bytes_) {
    case 2: {
      const auto sought = number<std::uint16_t>(key.data());
      return count_with(
          [=](const std::uint8_t* at) { return number<std::uint16_t>(at) <= sought; });
    }
    case 4: {
      const auto sought = number<std::uint32_t>(key.data());
      return count_with(
          [=](const std::uint8_t* at) { return number<std::uint32_t>(at) <= sought; });
    }
    case 16: {
      const Wide sought = wide(key.data());
      return count_with([=](const std::uint8_t* at) { return wide(at) <= sought; });
    }
    default:
      return count_with([this, key](const std::uint8_t* at) {
        return std::memcmp(at, key.data(), key_bytes_) <= 0;
      });
  }
}

}  // namespace weir::sets
