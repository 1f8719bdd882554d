// A configuration file of `weir run`. Inputs beyond ASCII are left out: toml++ 3.3.0 runs into its own
// __builtin_unreachable() over a letter such as U+00FC where it expects a key (is_non_ascii_horizontal_whitespace).
#include <algorithm>

#include "daemon/settings.h"
#include "tests/fuzz/require.h"
#include "tests/fuzz/temporary_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir;
  if (std::any_of(data, data + size, [](std::uint8_t byte) { return byte >= 0x80; })) return 0;
  const test::TemporaryFile file(Bytes(data, size));
  daemon::Settings settings;
  const auto read = daemon::read_config(file.path(), settings);
  if (read) {
    if (const auto good = daemon::check(settings); !good) test::require(!good.error().text.empty(), "an error says why");
  } else {
    test::require(!read.error().text.empty(), "an error says why");
  }
  return 0;
}
