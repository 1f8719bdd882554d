#pragma once

#include "base/bytes.h"
#include "base/siphash.h"

namespace weir {

/// Fills `out` from the kernel's random generator. For keys and seeds, not for the packet's path.
void fill_random(MutableBytes out);

/// A fresh key.
HashKey random_key();

}  // namespace weir
