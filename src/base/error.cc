#include "base/error.h"

#include <cerrno>
#include <cstring>

namespace weir {

Error system_error(const std::string& what) {
  const int code = errno;
  return {.code = code, .text = what + ": " + std::strerror(code)};
}

}  // namespace weir
