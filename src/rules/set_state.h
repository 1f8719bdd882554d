#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/spin.h"
#include "netlink/writer.h"
#include "rules/context.h"
#include "rules/expression.h"
#include "rules/registers.h"

namespace weir::rules {

/// What a stateful expression does, with its parameters and its state in place: the form in which
/// counters, limits, quotas and `last` stand in set elements, where a packet may have to make one
/// without allocating memory. Fresh memory that is all zeroes is "none".
///
/// The parameters are constant once an element is published. The words of state are changed by
/// workers concurrently: atomically (counter, quota, last) or under `lock` (limit). What the words
/// mean is said by each kind's own file.
struct State {
  enum class Kind : std::uint8_t { none, counter, limit, quota, last };

  Kind kind = Kind::none;
  bool is_inverted = false;
  bool is_bytes = false;  // limit: of bytes, not packets.
  SpinLock lock;
  std::uint32_t burst = 0;
  std::uint64_t rate = 0;     // limit: a unit's packets or bytes. quota: its bytes.
  std::uint64_t unit_ns = 0;  // limit.
  std::uint64_t most = 0;     // limit: tokens of a full bucket.
  std::uint64_t words[2] = {0, 0};

  State() = default;
  /// A copy has the parameters and the state, and an unlocked lock.
  State(const State& other) { *this = other; }
  State& operator=(const State& other);

  std::atomic_ref<std::uint64_t> word(int which) { return std::atomic_ref(words[which]); }
  std::uint64_t read(int which) const {
    return std::atomic_ref(const_cast<std::uint64_t&>(words[which]))
        .load(std::memory_order_relaxed);
  }

  /// Counts, or breaks off the rule, as its expression does.
  void eval(Registers& registers, Context& context);
  /// The name and the data of its expression, into an open nest (NFTA_EXPR_NAME, NFTA_EXPR_DATA).
  void dump(netlink::Writer& writer, DumpMode mode, Time now);
};

/// A stateful expression that can stand in set elements.
class StatefulExpression : public Expression {
 public:
  /// Its parameters and its initial state.
  virtual State state() const = 0;
};

/// The bytes of a packet as counters, limits and quotas count them: from the network header on.
inline std::uint32_t counted_bytes(const Context& context) {
  const packet::Packet& packet = *context.packet;
  return packet.family == wire::Family::none ? packet.length - packet.l3_offset : packet.ip_length;
}

}  // namespace weir::rules
