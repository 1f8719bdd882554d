#include "rules/expr/bitwise.h"
#include "rules/expr/byteorder.h"
#include "rules/expr/cmp.h"
#include "rules/expr/counter.h"
#include "rules/expr/dynset.h"
#include "rules/expr/exthdr.h"
#include "rules/expr/hash.h"
#include "rules/expr/immediate.h"
#include "rules/expr/last.h"
#include "rules/expr/limit.h"
#include "rules/expr/lookup.h"
#include "rules/expr/meta.h"
#include "rules/expr/numgen.h"
#include "rules/expr/objref.h"
#include "rules/expr/payload.h"
#include "rules/expr/quota.h"
#include "rules/expr/range.h"
#include "rules/expression.h"

namespace weir::rules {
namespace {

/// Every expression that weir has, by the name of its file.
constexpr const ExpressionKind* kKinds[] = {
    &kBitwise, &kByteorder, &kCmp,  &kCounter, &kDynset, &kExthdr,  &kHash,  &kImmediate, &kLast,
    &kLimit,   &kLookup,    &kMeta, &kNumgen,  &kObjref, &kPayload, &kQuota, &kRange,
};

}  // namespace

std::span<const ExpressionKind* const> expression_kinds() { return kKinds; }

}  // namespace weir::rules
