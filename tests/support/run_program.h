#pragma once

#include <functional>
#include <string>
#include <vector>

#include "base/error.h"

namespace weir::test {

/// How a program is run beside its words and input.
struct RunOptions {
  std::vector<std::string> environment = {};  // "NAME=value", beside this process's own.
  std::function<void()> meanwhile = {};       // Called again and again while it runs.
};

/// Runs a program with `input` on its standard input until it ends. Answers with its standard
/// output; fails with its standard error when its exit code isn't zero.
Result<std::string> run_program(const std::vector<std::string>& words, const std::string& input,
                                const RunOptions& options = {});

}  // namespace weir::test
