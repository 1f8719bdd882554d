#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "rules/context.h"

namespace weir::rules {

/// The longest line that log_line makes; longer ones are cut.
inline constexpr std::size_t kLogLineMax = 1024;

/// One line about the packet in the format of the kernel's log ("IN=eth0 OUT= MAC=... SRC=192.0.2.1
/// ..."), which log analysers know. `flags` are NF_LOG_*: what else it tells. Allocates nothing;
/// returns what it wrote of `space`.
std::string_view log_line(const Context& context, std::string_view prefix, std::uint32_t flags,
                          std::span<char> space);

}  // namespace weir::rules
