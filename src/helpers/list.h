#pragma once

#include <cstdint>
#include <string_view>

#include "helpers/helper.h"

namespace weir::helpers {

/// Every helper that weir has, numbered from 1 on. The numbers are what connections keep
/// (Extension::helper) and never change their meaning within a boot.
///
/// The helper with this number, null for none (zero, or unknown).
const Helper* find(std::uint16_t number);

/// The number of the helper with this name for this transport protocol; zero when there is none.
std::uint16_t number_of(std::string_view name, std::uint8_t protocol);

/// Its name; empty for none.
std::string_view name_of(std::uint16_t number);

}  // namespace weir::helpers
