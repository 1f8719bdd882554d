#include "tools/engine_process.h"

#include <cstdlib>
#include <vector>

#include "tools/exec.h"

namespace weir::tools {

bool is_under_preload() {
  const char* const libraries = std::getenv("LD_PRELOAD");
  return libraries != nullptr &&
         std::string_view(libraries).find("libweir-preload") != std::string_view::npos;
}

int run_under_preload(std::string_view command, const std::string& socket_path, int argc,
                      char** argv) {
  std::vector<std::string> words = {"exec"};
  if (!socket_path.empty()) words.insert(words.end(), {"--socket", socket_path});
  words.insert(words.end(), {"--", "/proc/self/exe", std::string(command)});
  words.insert(words.end(), argv + 1, argv + argc);
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return exec_main(static_cast<int>(words.size()), pointers.data());
}

}  // namespace weir::tools
