// A configuration file of `weir run`.
#include "daemon/settings.h"
#include "tests/fuzz/require.h"
#include "tests/fuzz/temporary_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir;
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
