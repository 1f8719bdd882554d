#include "rules/expr/bitwise.h"
#include "rules/expr/byteorder.h"
#include "rules/expr/cmp.h"
#include "rules/expr/exthdr.h"
#include "rules/expr/immediate.h"
#include "rules/expr/meta.h"
#include "rules/expr/payload.h"
#include "rules/expr/range.h"
#include "rules/expression.h"

namespace weir::rules {
namespace {

/// Every expression that weir has, by the name of its file.
constexpr const ExpressionKind* kKinds[] = {
    &kBitwise, &kByteorder, &kCmp, &kExthdr, &kImmediate, &kMeta, &kPayload, &kRange,
};

}  // namespace

std::span<const ExpressionKind* const> expression_kinds() { return kKinds; }

}  // namespace weir::rules
