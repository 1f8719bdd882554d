#pragma once

#include <linux/netfilter/nf_conntrack_common.h>

#include <cstddef>
#include <cstdint>
#include <optional>

#include "rules/context.h"
#include "rules/registers.h"

namespace weir::rules {

/// What a `ct` expression asks: NFT_CT_*, and of which direction (IP_CT_DIR_*) where that is said.
struct CtQuestion {
  std::uint32_t key = 0;
  std::optional<std::uint8_t> direction;

  /// The kernel keeps a direction that a key has no use for to itself.
  bool shows_direction() const;
};

/// NF_CT_STATE_BIT and its special cases: what is related or established doesn't tell its
/// direction.
inline std::uint32_t ct_state_bit(const packet::CtRef& ct) {
  if (ct.state == packet::CtState::untracked) return NF_CT_STATE_UNTRACKED_BIT;
  if (ct.entry == 0 || ct.info == packet::CtInfo::none) return NF_CT_STATE_INVALID_BIT;
  return NF_CT_STATE_BIT(static_cast<std::uint32_t>(ct.info));
}

enum class DirectionUse : std::uint8_t { never, optional, always };

/// Bytes of the answer in the register; zero for what weir's connections don't carry.
std::size_t ct_bytes(std::uint32_t key, Family table_family);
DirectionUse direction_use(std::uint32_t key);

/// Puts the answer about the packet's connection into a register. False when there is none: no
/// connection, or one of the other family.
bool read_ct(const CtQuestion& question, const Context& context, Registers& registers,
             RegisterIndex destination);

}  // namespace weir::rules
