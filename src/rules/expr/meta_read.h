#pragma once

#include <cstddef>
#include <cstdint>

#include "rules/context.h"
#include "rules/registers.h"

namespace weir::rules {

/// Bytes of the value of an NFT_META_* key; zero for a key that weir can't read.
std::size_t meta_bytes(std::uint32_t key);

/// Reads a key of those into a register; false when the packet has no such thing
/// (nft_meta_get_eval).
bool read_meta(std::uint32_t key, Context& context, Registers& registers, RegisterIndex to);

}  // namespace weir::rules
