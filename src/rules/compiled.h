#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "rules/context.h"
#include "rules/hook.h"
#include "rules/registers.h"
#include "rules/ruleset.h"
#include "rules/verdict.h"

/// The form of a ruleset that workers run. It is immutable; a commit makes a new one out of the
/// compiled chains that have not changed and newly compiled ones.
///
/// A rule is a run of operations. The expressions that rules are mostly made of (load a header
/// field, the connection's state or an interface's name, compare, decide) are operations of their
/// own, evaluated in place; everything else is a call of its expression. Chains name each other by
/// slot, so a chain that has not changed is shared by many generations.
namespace weir::rules {

/// One step of a compiled rule.
struct Op {
  enum class Kind : std::uint8_t {
    call,  // expression->eval().
    load,  // `length` bytes (at most 16) at `offset` of the network or transport header into `at`;
           // no match when short.
    load_state,     // The bit of `ct state` into word `at`.
    load_protocol,  // The transport protocol into word `at`; no match for what isn't IP.
    load_family,    // NFPROTO_* into word `at`.
    load_in_name,   // The name of the interface that the packet came in by, 16 bytes, into `at`,
    load_out_name,  // or goes out by.
    combine,        // (word `from` & mask) ^ value into word `at`.
    match,          // (word `at` & mask) == value, else no match.
    mismatch,       // (word `at` & mask) != value, else no match.
    match_bytes,    // `length` bytes from `at` on are `bytes`, else no match.
    mismatch_bytes,
    decide,  // The verdict.
  };
  Kind kind = Kind::call;
  RegisterIndex at = 0;
  RegisterIndex from = 0;
  bool is_transport = false;
  std::uint8_t length = 0;
  std::uint32_t offset = 0;
  std::uint32_t mask = 0;
  std::uint32_t value = 0;
  Verdict verdict = {};
  const Expression* expression = nullptr;
  const std::uint8_t* bytes = nullptr;  // The expression's.
};

struct CompiledRule {
  std::uint32_t first_op = 0;
  std::uint32_t op_count = 0;
  const Rule* rule = nullptr;
};

/// What a base chain says when its rules do not decide.
struct CompiledBase {
  ChainType type = ChainType::filter;
  VerdictCode policy = VerdictCode::accept;
  std::shared_ptr<ChainCounters> counters;
  std::vector<std::string> devices;
};

class CompiledChain {
 public:
  explicit CompiledChain(const Chain& chain);

  std::string table;
  std::string name;
  Family family = Family::unspec;
  std::uint64_t handle = 0;
  bool is_base = false;
  CompiledBase base;
  std::vector<CompiledRule> rules;
  std::vector<Op> ops;

 private:
  std::vector<std::shared_ptr<const Rule>> kept_;
};

/// Is told what rules do to a packet (`replay --explain`, nftrace). Called by workers.
class Observer {
 public:
  virtual ~Observer() = default;
  /// Every expression of the rule has matched; `verdict` is `next` when it decided nothing.
  virtual void on_rule(const Context& context, const CompiledChain& chain, const Rule& rule,
                       const Verdict& verdict) = 0;
  /// The chain that was jumped to has ended, or a rule has left it.
  virtual void on_return(const Context& context, const CompiledChain& chain) = 0;
  /// The base chain's rules have not decided.
  virtual void on_policy(const Context& context, const CompiledChain& chain,
                         VerdictCode policy) = 0;
};

class CompiledRuleset {
 public:
  explicit CompiledRuleset(std::uint64_t generation) : generation_(generation) {}

  std::uint64_t generation() const { return generation_; }

  /// Whether a packet of the family meets any chain at the hook with from <= priority < until.
  /// Cheap enough to ask first for every batch. At Hook::ingress the family doesn't matter.
  bool has_chains(Family family, Hook hook, std::int32_t from, std::int32_t until) const {
    for (const HookChain& each : hook_chains(family, hook)) {
      if (each.priority >= until) return false;
      if (each.priority >= from) return true;
    }
    return false;
  }
  bool has_nat_chains(Family family, Hook hook) const {
    return !nat_[index(family)][at(hook)].empty();
  }

  /// Runs the packet through the filter and route chains of context.hook with from <= priority <
  /// until, in order. Sets packet->drop when it is dropped. `skip` chains of the hook are passed
  /// over (to resume behind HookVerdict::chain_position after `queue`: chain_position + 1).
  HookVerdict run(Context& context, std::int32_t from, std::int32_t until,
                  std::uint16_t skip = 0) const;

  /// Runs the nat chains of context.hook in order of priority until `is_done()` is true (a rule has
  /// set up the translation that belongs to the hook) or one does not accept. For the first packet
  /// of a connection only (nf_nat_inet_fn).
  template <typename IsDone>
  HookVerdict run_nat_chains(Context& context, IsDone&& is_done) const {
    context.generation = generation_;
    for (const HookChain& each : nat_[index(context.packet_family())][at(context.hook)]) {
      const HookVerdict verdict = run_base(context, *each.chain);
      if (!verdict.is_accept() || is_done()) return verdict;
    }
    return {};
  }

  /// Whether a chain of type route sees such packets: then a changed mark or address at output
  /// means a new route.
  bool has_route_chains(Family family) const { return has_route_chains_[index(family)]; }

 private:
  friend class Ruleset;

  struct HookChain {
    std::int32_t priority = 0;
    std::uint64_t registered = 0;
    const CompiledChain* chain = nullptr;
  };
  using Hooks = std::array<std::vector<HookChain>, kHookCount>;

  static constexpr std::size_t index(Family family) { return family == Family::ip6 ? 1 : 0; }
  static constexpr std::size_t at(Hook hook) { return static_cast<std::size_t>(hook); }
  const std::vector<HookChain>& hook_chains(Family family, Hook hook) const {
    return filter_[hook == Hook::ingress ? 0 : index(family)][at(hook)];
  }

  void add(const Table& table, const Chain& chain);
  void add_hooks(const Table& table, const Chain& chain);
  void sort();
  HookVerdict run_base(Context& context, const CompiledChain& chain) const;
  template <bool kObserved>
  Verdict evaluate(Context& context, const CompiledChain& base) const;

  std::uint64_t generation_;
  std::vector<std::shared_ptr<const CompiledChain>> chains_;  // By slot.
  std::array<Hooks, 2> filter_;
  std::array<Hooks, 2> nat_;
  std::array<bool, 2> has_route_chains_{};
};

}  // namespace weir::rules
