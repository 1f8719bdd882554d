#include "engine/rules_loader.h"

#include <unistd.h>

#include <cerrno>

#include "engine/run_tool.h"

namespace weir::engine {

Result<void> load_rules(const std::string& socket_path, const std::string& file,
                        const std::function<void()>& serve) {
  if (access(file.c_str(), R_OK) != 0) return std::unexpected(system_error("ruleset " + file));
  const auto run = run_tool({"nft", "-f", file}, socket_path, serve);
  if (!run) return std::unexpected(run.error());
  if (run->exit_code == 0) return {};
  const std::string said = run->output + run->messages;
  return std::unexpected(Error{EINVAL, "nft refused " + file + ":\n" +
                                           (said.empty() ? "nft ended without a message" : said)});
}

}  // namespace weir::engine
