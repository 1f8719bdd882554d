#pragma once

namespace weir {

/// What every command of weir ends with.
inline constexpr int kDone = 0;
inline constexpr int kRefused = 1;  // The input or the engine refused.
inline constexpr int kWrongUsage = 2;

}  // namespace weir
