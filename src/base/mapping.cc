#include "base/mapping.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>

#ifndef MADV_POPULATE_WRITE
constexpr int MADV_POPULATE_WRITE = 23;  // Linux 5.14; older C libraries lack the name.
#endif

namespace weir {
namespace {

constexpr std::size_t kPage = 4096;

}  // namespace

Mapping::~Mapping() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

Mapping& Mapping::operator=(Mapping&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

Result<Mapping> Mapping::anonymous(std::size_t bytes) {
  void* const at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) return std::unexpected(system_error("reserving memory"));
  madvise(at, bytes, MADV_HUGEPAGE);  // Helps where the system has huge pages; no loss elsewhere.
  return Mapping(static_cast<std::uint8_t*>(at), bytes);
}

Result<Mapping> Mapping::file(int fd, std::size_t bytes) {
  if (ftruncate(fd, static_cast<off_t>(bytes)) != 0) {
    return std::unexpected(system_error("sizing the mapped file"));
  }
  void* const at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at == MAP_FAILED) return std::unexpected(system_error("mapping the file"));
  return Mapping(static_cast<std::uint8_t*>(at), bytes);
}

bool Mapping::fault_in(std::size_t offset, std::size_t count) const {
  const std::size_t from = offset & ~(kPage - 1);
  const std::size_t to = std::min(bytes_, (offset + count + kPage - 1) & ~(kPage - 1));
  return to <= from || madvise(data_ + from, to - from, MADV_POPULATE_WRITE) == 0;
}

}  // namespace weir
