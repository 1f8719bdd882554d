#include "base/random.h"

#include <sys/random.h>

#include <cerrno>
#include <cstdlib>

namespace weir {

void fill_random(MutableBytes out) {
  while (!out.empty()) {
    const ssize_t got = getrandom(out.data(), out.size(), 0);
    if (got < 0) {
      if (errno == EINTR) continue;
      std::abort();  // No randomness, no keyed hash: nothing that runs on would be safe.
    }
    out = out.subspan(static_cast<std::size_t>(got));
  }
}

HashKey random_key() {
  HashKey key;
  fill_random(MutableBytes(reinterpret_cast<std::uint8_t*>(&key), sizeof key));
  return key;
}

}  // namespace weir
