#pragma once

#include <string>

#include "base/error.h"

namespace weir {

/// The path of libweir-preload.so: $WEIR_PRELOAD, else beside this program, in its build folder, or
/// in the library folder of its installation. Errors: ENOENT, naming the places that were looked
/// at.
Result<std::string> find_preload_library();

}  // namespace weir
