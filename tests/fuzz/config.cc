// A configuration file of `weir run`: whatever it says, it is read or refused with reasons, each
// with its line, and a refused one changes nothing.
#include <string_view>

#include "daemon/settings.h"
#include "tests/fuzz/require.h"

namespace {

/// Every line of a problem begins with where it is.
void require_places(std::string_view problems) {
  weir::test::require(!problems.empty(), "an error says why");
  weir::test::require(problems.starts_with("weir.toml:"), "an error says where");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace weir;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  daemon::Settings settings;
  const auto read = daemon::parse_config(text, "weir.toml", settings);
  if (!read) {
    require_places(read.error().text);
    test::require(settings.ports.empty() && settings.sysctls.empty(), "nothing was read");
  } else if (const auto good = daemon::check(settings); !good) {
    test::require(!good.error().text.empty(), "an error says why");
  }
  return 0;
}
