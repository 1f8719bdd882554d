#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "base/bytes.h"
#include "tests/fuzz/require.h"

namespace weir::test {

/// A file in memory with these bytes, for what only reads files.
class TemporaryFile {
 public:
  explicit TemporaryFile(Bytes bytes) : descriptor_(memfd_create("fuzz", MFD_CLOEXEC)) {
    require(descriptor_ >= 0, "there is a file");
    const bool is_written =
        write(descriptor_, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
    require(is_written, "the file is written");
  }
  ~TemporaryFile() { close(descriptor_); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;

  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  int descriptor_;
};

}  // namespace weir::test
