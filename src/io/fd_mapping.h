#pragma once

#include <sys/mman.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/error.h"

namespace weir::io {

/// Memory that a kernel object gives to whoever holds its descriptor: a ring, a BPF map.
class FdMapping {
 public:
  FdMapping() = default;
  FdMapping(FdMapping&& other) noexcept { *this = std::move(other); }
  FdMapping& operator=(FdMapping&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~FdMapping() {
    if (data_ != nullptr) munmap(data_, bytes_);
  }

  /// All pages are there at once.
  static Result<FdMapping> map(int fd, off_t offset, std::size_t bytes, const char* what) {
    void* const at =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, offset);
    if (at == MAP_FAILED) return std::unexpected(system_error(what));
    FdMapping made;
    made.data_ = static_cast<std::uint8_t*>(at);
    made.bytes_ = bytes;
    return made;
  }

  std::uint8_t* data() const { return data_; }

 private:
  std::uint8_t* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace weir::io
