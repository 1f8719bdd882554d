#pragma once

#include <cstdio>
#include <cstdlib>

namespace weir::test {

/// What must hold after any input; a fuzz target's way to fail.
inline void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %s\n", what);
  std::abort();
}

}  // namespace weir::test
