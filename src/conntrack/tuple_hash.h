#pragma once

#include <cstddef>
#include <cstdint>

#include "base/siphash.h"
#include "conntrack/tuple.h"

namespace weir::conntrack {

/// The keyed hash of a tuple, of which the index's tag is made: SipHash-1-3 over its 40 bytes.
std::uint64_t hash_tuple(const HashKey& key, const Tuple& tuple);

/// The same of many tuples: hashes[i] of *tuples[i]. Side by side in the widest vectors that this
/// processor has, which the first call finds out.
void hash_tuples(const HashKey& key, const Tuple* const* tuples, std::size_t count,
                 std::uint64_t* hashes);

}  // namespace weir::conntrack
