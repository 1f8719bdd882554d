#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/error.h"

namespace weir {

/// A range of zeroed, page-aligned memory of our own, reserved at once and backed by pages only
/// where it is touched. Unmapped when it goes away; a file under it keeps the bytes.
class Mapping {
 public:
  Mapping() = default;
  ~Mapping();
  Mapping(Mapping&& other) noexcept { *this = std::move(other); }
  Mapping& operator=(Mapping&& other) noexcept;

  /// Memory of this process. Errors: ENOMEM and what mmap says.
  static Result<Mapping> anonymous(std::size_t bytes);
  /// The first `bytes` of the file `fd`, which is made that long. The descriptor stays the
  /// caller's.
  static Result<Mapping> file(int fd, std::size_t bytes);

  std::uint8_t* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

  /// Backs [offset, offset + count) with pages now, so that nobody waits for them later. False when
  /// the kernel could not: the pages then come when they are touched.
  bool fault_in(std::size_t offset, std::size_t count) const;

 private:
  Mapping(std::uint8_t* data, std::size_t bytes) : data_(data), bytes_(bytes) {}

  std::uint8_t* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace weir
