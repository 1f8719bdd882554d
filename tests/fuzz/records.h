#pragma once

#include <cstdint>
#include <optional>

#include "base/bytes.h"

namespace weir::test {

/// A fuzz input as a sequence of records: a byte of control, two of length (little-endian), and so
/// many bytes; the last may be cut short.
struct Record {
  std::uint8_t control = 0;
  Bytes bytes;
};

inline std::optional<Record> take_record(Bytes& input) {
  if (input.size() < 3) return {};
  const std::size_t length = std::size_t{input[1]} | std::size_t{input[2]} << 8;
  const Record record{.control = input[0],
                      .bytes = input.subspan(3).first(std::min(length, input.size() - 3))};
  input = input.subspan(3 + record.bytes.size());
  return record;
}

}  // namespace weir::test
