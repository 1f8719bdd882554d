#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace weir::test {

/// Runs a program with `input` on its standard input until it ends. Answers with its standard output; fails
/// with its standard error when its exit code isn't zero.
Result<std::string> run_program(const std::vector<std::string>& words, const std::string& input);

}  // namespace weir::test
