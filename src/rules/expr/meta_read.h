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

/// An interface's name, which takes a whole register; an empty one where there is none.
void load_name(const Context& context, std::uint32_t ifindex, Registers& registers,
               RegisterIndex to);
/// The family of the packet's netfilter hook, NFPROTO_*.
inline std::uint8_t hook_family(const Context& context) {
  return static_cast<std::uint8_t>(context.hook == Hook::ingress ? Family::netdev
                                                                 : context.packet_family());
}

}  // namespace weir::rules
