#pragma once

#include <array>

namespace weir {

/// Which boot of the machine this is, as text; zeroes where the kernel doesn't say. What counts
/// from the boot (the clock that deadlines are on, interface numbers) begins anew with the next
/// one.
using BootId = std::array<char, 40>;
BootId boot_id();

}  // namespace weir
