#include "base/preload_library.h"

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <vector>

namespace weir {

Result<std::string> find_preload_library() {
  constexpr const char* kName = "libweir-preload.so";
  std::vector<std::filesystem::path> places;
  if (const char* given = std::getenv("WEIR_PRELOAD"); given != nullptr && *given != '\0')
    places.emplace_back(given);
  std::error_code error;
  const std::filesystem::path folder =
      std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  places.push_back(folder / kName);
  places.push_back(folder.parent_path() / kName);
  places.push_back(folder.parent_path() / "lib" / "weir" / kName);

  std::string looked_at;
  for (const auto& place : places) {
    if (std::filesystem::exists(place, error)) return std::filesystem::absolute(place).string();
    looked_at += " " + place.string();
  }
  return std::unexpected(Error{ENOENT, "libweir-preload.so was not found; looked at" + looked_at +
                                           ". Set WEIR_PRELOAD to its path."});
}

}  // namespace weir
