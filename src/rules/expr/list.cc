#include "rules/expr/bitwise.h"
#include "rules/expr/byteorder.h"
#include "rules/expr/cmp.h"
#include "rules/expr/counter.h"
#include "rules/expr/ct.h"
#include "rules/expr/dynset.h"
#include "rules/expr/exthdr.h"
#include "rules/expr/fib.h"
#include "rules/expr/hash.h"
#include "rules/expr/immediate.h"
#include "rules/expr/last.h"
#include "rules/expr/limit.h"
#include "rules/expr/log.h"
#include "rules/expr/lookup.h"
#include "rules/expr/masq.h"
#include "rules/expr/meta.h"
#include "rules/expr/nat.h"
#include "rules/expr/notrack.h"
#include "rules/expr/numgen.h"
#include "rules/expr/objref.h"
#include "rules/expr/payload.h"
#include "rules/expr/quota.h"
#include "rules/expr/range.h"
#include "rules/expr/redir.h"
#include "rules/expr/reject.h"
#include "rules/expr/rt.h"
#include "rules/expression.h"

namespace weir::rules {
namespace {

/// Every expression that weir has, by the name of its file.
constexpr const ExpressionKind* kKinds[] = {
    &kBitwise,   &kByteorder, &kCmp,     &kCounter, &kCt,     &kDynset, &kExthdr, &kFib, &kHash,
    &kImmediate, &kLast,      &kLimit,   &kLog,     &kLookup, &kMasq,   &kMeta,   &kNat, &kNotrack,
    &kNumgen,    &kObjref,    &kPayload, &kQuota,   &kRange,  &kRedir,  &kReject, &kRt,
};

}  // namespace

std::span<const ExpressionKind* const> expression_kinds() { return kKinds; }

}  // namespace weir::rules
