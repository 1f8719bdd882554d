#pragma once

// The templates of hash_set.h.

#include "sets/hash_set.h"

namespace weir::sets {

template <typename Each>
std::uint32_t HashSet::walk(std::uint32_t cursor, const View& view, Each&& each) const {
  std::uint32_t last_order = cursor;
  bool stop = false;
  for (std::uint32_t at = first_behind(cursor); at != kEnd; at = successor(at)) {
    if (at & kBucket) continue;
    const Header& element = header(at);
    if (stop && element.order != last_order) return last_order;
    if (!sees(at, view)) continue;
    last_order = element.order;
    if (!each(Element{at})) stop = true;
  }
  return 0;
}

template <typename Forget>
void HashSet::recycle(Element removed, Forget&& forget) {
  while (removed != 0) {
    const Element next = header(removed).spare.load(std::memory_order_relaxed);
    forget(removed);
    push_free(removed);
    removed = next;
  }
}

}  // namespace weir::sets
