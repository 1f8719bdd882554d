#pragma once

#include <cstdint>

#include "conntrack/tuple.h"
#include "nat/port_map.h"
#include "nat/range.h"

namespace weir::nat {

/// Who knows which reply tuples are taken.
class Claims {
 public:
  virtual ~Claims() = default;
  /// True when `reply` was free and is now reserved. `may_evict`: a finished connection that stands
  /// in the way may be deleted.
  virtual bool claim(const conntrack::Tuple& reply, bool may_evict) = 0;
  /// Whether `reply` belongs to somebody, now.
  virtual bool is_taken(const conntrack::Tuple& reply) = 0;
  /// The ports of the pool to which a source mapping with `reply` belongs, if it is crowded, or,
  /// with `open`, from now on; null: nothing is known.
  virtual PortMap* ports(const conntrack::Tuple& reply, bool open) = 0;
  /// Sixteen bits that nobody outside can guess.
  virtual std::uint16_t random() = 0;
};

/// The end of a reply tuple that a manip maps: translating the source changes the reply's
/// destination.
struct MappedEnd {
  wire::Address& address;
  Be16& port;  // Or the ICMP id.
};
MappedEnd mapped_end(conntrack::Tuple& reply, Manip manip);

/// Whether the mapped end lies in the range already.
bool is_in_range(const conntrack::Tuple& reply, Manip manip, const Range& range);

/// The address of a range that a connection gets: a hash of both its ends, with kPersistent of the
/// client alone, so that a server sees one client under one address, across restarts too.
wire::Address choose_address(const conntrack::Tuple& reply, const Range& range);

/// Changes `reply` into one within `range` that is claimed: address first, then the port, kept if
/// it is free and allowed, otherwise searched for from a random start with at most 248 claims
/// (fewer where a PortMap shows the free ones). A destination's port that no range names is never
/// changed. False when nothing was free; `reply` is then the last that was tried.
bool choose(conntrack::Tuple& reply, Manip manip, const Range& range, Claims& claims);

}  // namespace weir::nat
