#pragma once

#include <memory>

#include "rules/expression.h"
#include "rules/set.h"

namespace weir::rules {

/// `lookup`: whether a set has a key, or what a map maps it to.
extern const ExpressionKind kLookup;

/// The set that an expression names, by NFTA_*_SET_NAME or within the batch by NFTA_*_SET_ID
/// (nft_set_lookup_global). Errors: EINVAL when it names none, ENOENT, EBUSY for an anonymous set
/// that another rule has already.
Result<std::shared_ptr<Set>> find_set(const netlink::Attributes& attributes,
                                      std::uint16_t name_type, std::uint16_t id_type,
                                      const ParseContext& context);

/// The view of the packet at hand.
inline sets::View view_of(const Context& context) {
  return {.now = context.now, .generation = static_cast<std::uint32_t>(context.generation)};
}

}  // namespace weir::rules
