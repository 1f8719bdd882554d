#include "routing/database.h"
#include "routing/view.h"
#include "rules/compiled.h"
#include "rules/expr/header_base.h"

namespace weir::rules {
namespace {

constexpr std::size_t kJumpsMax = 16;  // NFT_JUMP_STACK_SIZE.

/// Copies a header field into a register; false when the packet is too short for it.
bool load_field(const Op& op, const packet::Packet& packet, Registers& registers) {
  if (op.is_transport && !has_transport(packet)) return false;
  const std::uint32_t from = (op.is_transport ? packet.l4_offset : packet.l3_offset) + op.offset;
  if (from + op.length > readable_end(packet)) return false;
  registers.words[op.at + (op.length - 1) / 4] = 0;
  std::memcpy(registers.bytes(op.at), packet.frame() + from, op.length);
  return true;
}

void step(const Op& op, Registers& registers, Context& context) {
  switch (op.kind) {
    case Op::Kind::call:
      op.expression->eval(registers, context);
      break;
    case Op::Kind::load:
      if (!load_field(op, *context.packet, registers)) registers.fail();
      break;
    case Op::Kind::match:
      if ((registers.u32(op.at) & op.mask) != op.value) registers.fail();
      break;
    case Op::Kind::mismatch:
      if ((registers.u32(op.at) & op.mask) == op.value) registers.fail();
      break;
    case Op::Kind::decide:
      registers.verdict = op.verdict;
      break;
  }
}

struct Position {
  const CompiledChain* chain = nullptr;
  std::size_t next_rule = 0;
};

void count(const CompiledBase& base, const packet::Packet& packet) {
  if (!base.counters) return;
  base.counters->packets.fetch_add(1, std::memory_order_relaxed);
  base.counters->bytes.fetch_add(packet.length - packet.l3_offset, std::memory_order_relaxed);
}

bool name_matches(const std::string& pattern, std::string_view name) {
  if (pattern.ends_with('*')) {
    return name.starts_with(std::string_view(pattern).substr(0, pattern.size() - 1));
  }
  return pattern == name;
}

/// Whether a chain of netdev, or of inet at ingress, is there for the interface that the packet
/// came in by.
bool is_for_device(const CompiledChain& chain, const Context& context) {
  if (!context.services || !context.services->routing) return false;
  const routing::Link* link = context.services->routing->view().link(context.packet->in_ifindex);
  if (!link) return false;
  for (const std::string& device : chain.base.devices) {
    if (name_matches(device, link->name)) return true;
  }
  return false;
}

}  // namespace

template <bool kObserved>
Verdict CompiledRuleset::evaluate(Context& context, const CompiledChain& base) const {
  Registers registers;
  std::array<Position, kJumpsMax> stack;
  std::size_t depth = 0;
  Position here{.chain = &base};

  for (;;) {
    if (here.next_rule == here.chain->rules.size()) {
      // The chain has ended.
      if (kObserved && here.chain != &base) context.observer->on_return(context, *here.chain);
      if (depth == 0) break;
      here = stack[--depth];
      continue;
    }
    const CompiledRule& rule = here.chain->rules[here.next_rule++];
    registers.verdict.code = VerdictCode::next;
    const Op* op = here.chain->ops.data() + rule.first_op;
    for (const Op* const end = op + rule.op_count; op != end; ++op) {
      step(*op, registers, context);
      if (registers.verdict.code != VerdictCode::next) break;
    }
    const Verdict verdict = registers.verdict;
    if (verdict.code == VerdictCode::fail) continue;
    if constexpr (kObserved) {
      context.observer->on_rule(context, *here.chain, *rule.rule, verdict);
    }
    switch (verdict.code) {
      case VerdictCode::next:
      case VerdictCode::fail:
        continue;
      case VerdictCode::jump:
        if (depth == kJumpsMax) return Verdict::of(VerdictCode::drop);  // Validation rules it out.
        stack[depth++] = here;
        here = {.chain = chains_[verdict.chain].get()};
        continue;
      case VerdictCode::go_to:
        here = {.chain = chains_[verdict.chain].get()};
        continue;
      case VerdictCode::leave:
        here.next_rule = here.chain->rules.size();
        continue;
      default:
        return verdict;
    }
  }
  count(base.base, *context.packet);
  if constexpr (kObserved) context.observer->on_policy(context, base, base.base.policy);
  if (base.base.policy == VerdictCode::drop) context.packet->drop = packet::Drop::chain_policy;
  return Verdict::of(base.base.policy);
}

HookVerdict CompiledRuleset::run_base(Context& context, const CompiledChain& chain) const {
  const Verdict verdict =
      context.observer ? evaluate<true>(context, chain) : evaluate<false>(context, chain);
  if (verdict.code == VerdictCode::drop && context.packet->drop == packet::Drop::none) {
    context.packet->drop = packet::Drop::rule;
  }
  return {.code = verdict.code,
          .queue_number = verdict.queue_number,
          .queue_bypass = verdict.queue_bypass};
}

HookVerdict CompiledRuleset::run(Context& context, std::int32_t from, std::int32_t until,
                                 std::uint16_t skip) const {
  context.generation = generation_;
  const auto& chains = hook_chains(context.packet_family(), context.hook);
  for (std::size_t i = skip; i < chains.size(); ++i) {
    const HookChain& each = chains[i];
    if (each.priority >= until) break;
    if (each.priority < from) continue;
    if (context.hook == Hook::ingress && !is_for_device(*each.chain, context)) continue;
    HookVerdict verdict = run_base(context, *each.chain);
    if (!verdict.is_accept()) {
      verdict.chain_position = static_cast<std::uint16_t>(i);
      return verdict;
    }
  }
  return {};
}

}  // namespace weir::rules
