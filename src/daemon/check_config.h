#pragma once

#include <string>
#include <vector>

namespace weir::daemon {

/// What a configuration file comes to.
struct ConfigReport {
  std::vector<std::string> problems;  // Each with its place; empty when weir can run with it.
  std::vector<std::string> notes;     // What was found, and what could not be checked.
};

/// Reads a configuration as `weir run` would and looks for everything that can be wrong with it:
/// its keys and values, with `with_host` the devices, users and groups that it names, and its
/// rules, by nft against an engine in memory.
ConfigReport check_config(const std::string& file, bool with_host);

/// `weir check-config`: prints the report. Returns the exit code.
int check_config_main(int argc, char** argv);

}  // namespace weir::daemon
