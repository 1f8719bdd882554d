#include "base/boot_id.h"

#include <cstdio>

namespace weir {

BootId boot_id() {
  BootId id{};
  if (std::FILE* const file = std::fopen("/proc/sys/kernel/random/boot_id", "re")) {
    if (std::fgets(id.data(), id.size(), file) == nullptr) id = {};
    std::fclose(file);
  }
  return id;
}

}  // namespace weir
