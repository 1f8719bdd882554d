#pragma once

#include <cstdint>

namespace weir::rules {

/// What an expression, a rule or a chain decides. The values are netfilter's (NF_DROP…) and
/// nf_tables' (NFT_CONTINUE…), which is what netlink carries.
enum class VerdictCode : std::int32_t {
  drop = 0,
  accept = 1,
  stolen = 2,  // Somebody else owns the packet now (e.g. reject has consumed it).
  queue = 3,
  repeat = 4,
  next = -1,  // NFT_CONTINUE: on to the next expression or rule.
  fail = -2,  // NFT_BREAK: this rule does not match; on to the next rule.
  jump = -3,
  go_to = -4,
  leave = -5,  // NFT_RETURN.
};

/// The number of a chain in its ruleset; compiled chains are found by it.
using ChainSlot = std::uint32_t;

/// The verdict register.
struct Verdict {
  VerdictCode code = VerdictCode::next;
  ChainSlot chain = 0;             // jump, go_to: where to.
  std::uint16_t queue_number = 0;  // queue.
  bool queue_bypass = false;       // queue: accept when nobody listens.

  static constexpr Verdict of(VerdictCode code) { return {.code = code}; }
  bool operator==(const Verdict&) const = default;
};

/// What all the chains between two priorities of a hook say of a packet; only accept, drop, stolen
/// or queue come out. After `queue`, a packet that is let through resumes behind `chain_position`.
struct HookVerdict {
  VerdictCode code = VerdictCode::accept;
  std::uint16_t queue_number = 0;
  bool queue_bypass = false;
  std::uint16_t chain_position =
      0;  // Base chain of the hook, counted from its first, that decided.

  bool is_accept() const { return code == VerdictCode::accept; }
};

}  // namespace weir::rules
