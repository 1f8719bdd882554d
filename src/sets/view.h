#pragma once

#include <cstdint>

#include "base/clock.h"

namespace weir::sets {

/// The moment at which somebody looks at a set: which elements have expired, and which of those
/// that transactions add and delete exist. Generations are those of the compiled rulesets, cut to
/// the 32 bits that netlink has for them; four thousand million commits are more than an engine
/// lives to see.
struct View {
  Time now{};
  std::uint32_t generation = 0;
};

/// The generations in which an element exists: from `added` on, before `removed`.
inline constexpr std::uint32_t kAlways = 0;
inline constexpr std::uint32_t kNever = UINT32_MAX;

}  // namespace weir::sets
