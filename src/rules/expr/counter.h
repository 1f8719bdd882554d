#pragma once

#include <memory>

#include "base/counter.h"
#include "rules/expression.h"
#include "rules/set_state.h"

namespace weir::rules {

/// `counter`: packets and bytes that come by. It may be given values to go on from.
extern const ExpressionKind kCounter;

/// Packets and bytes.
struct Tally {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
};

/// A counter of a rule or a named object: each worker counts in a line of its own, so that counting
/// costs two plain stores and sums are exact. `total` and `reset` belong to the control thread.
class WorkerCounter {
 public:
  WorkerCounter(std::size_t workers, const Tally& initial);

  void count(const Context& context) {
    Shard& shard = shards_[context.worker];
    shard.packets.add();
    shard.bytes.add(counted_bytes(context));
  }
  Tally total() const;
  /// Total, and goes on from zero.
  Tally reset();

 private:
  struct alignas(64) Shard {
    Counter packets;
    Counter bytes;
  };
  Tally counted() const;

  std::size_t workers_;
  std::unique_ptr<Shard[]> shards_;
  Tally initial_;  // To be added; wraps below zero after a reset.
};

/// What NFTA_COUNTER_* says.
Result<Tally> parse_tally(netlink::Region data);
void write_tally(netlink::Writer& writer, const Tally& tally);

/// The counter of a set element: words are packets and bytes.
void count(State& state, const Context& context);
void dump_counter(netlink::Writer& writer, State& state, DumpMode mode);

}  // namespace weir::rules
