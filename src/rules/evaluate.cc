#include "routing/database.h"
#include "routing/view.h"
#include "rules/compiled.h"
#include "rules/expr/ct_read.h"
#include "rules/expr/header_base.h"
#include "rules/expr/meta_read.h"

namespace weir::rules {
namespace {

constexpr std::size_t kJumpsMax = 16;  // NFT_JUMP_STACK_SIZE.

/// Copies a header field into a register; false when the packet is too short for it.
bool load_field(const Op& op, const packet::Packet& packet, Registers& registers) {
  if (op.is_transport && !has_transport(packet)) return false;
  const std::uint32_t from = (op.is_transport ? packet.l4_offset : packet.l3_offset) + op.offset;
  if (from + op.length > readable_end(packet)) return false;
  const std::uint8_t* const field = packet.frame() + from;
  switch (op.length) {  // The usual lengths without a call.
    case 1:
      registers.set_u8(op.at, *field);
      break;
    case 2:
      registers.set_u16(op.at, load<std::uint16_t>(field));
      break;
    case 4:
      registers.set_u32(op.at, load<std::uint32_t>(field));
      break;
    default:
      registers.set(op.at, Bytes(field, op.length));
  }
  return true;
}

bool has_bytes(const Registers& registers, const Op& op) {
  if (op.length == sizeof(routing::PaddedName)) {  // An interface's name: a constant length.
    return std::memcmp(registers.bytes(op.at), op.bytes, sizeof(routing::PaddedName)) == 0;
  }
  return std::memcmp(registers.bytes(op.at), op.bytes, op.length) == 0;
}

/// Runs a rule's operations until one doesn't match or decides. Says `fail`, `next` (all have
/// matched, nothing is decided), or that registers.verdict decides.
VerdictCode run_ops(const Op* op, const Op* const end, Registers& registers, Context& context) {
  for (; op != end; ++op) {
    bool is_match = true;
    switch (op->kind) {
      case Op::Kind::call:
        registers.verdict.code = VerdictCode::next;
        op->expression->eval(registers, context);
        if (registers.verdict.code != VerdictCode::next) return registers.verdict.code;
        break;
      case Op::Kind::load:
        is_match = load_field(*op, *context.packet, registers);
        break;
      case Op::Kind::load_state:
        registers.set_u32(op->at, ct_state_bit(context.packet->ct));
        break;
      case Op::Kind::load_protocol:
        is_match = context.packet->family != wire::Family::none;
        registers.set_u8(op->at, context.packet->l4_protocol);
        break;
      case Op::Kind::load_family:
        registers.set_u8(op->at, hook_family(context));
        break;
      case Op::Kind::load_in_name:
        load_name(context, context.in_ifindex(), registers, op->at);
        break;
      case Op::Kind::load_out_name:
        load_name(context, context.out_ifindex(), registers, op->at);
        break;
      case Op::Kind::combine:
        registers.set_u32(op->at, (registers.u32(op->from) & op->mask) ^ op->value);
        break;
      case Op::Kind::match:
        is_match = (registers.u32(op->at) & op->mask) == op->value;
        break;
      case Op::Kind::mismatch:
        is_match = (registers.u32(op->at) & op->mask) != op->value;
        break;
      case Op::Kind::match_bytes:
        is_match = has_bytes(registers, *op);
        break;
      case Op::Kind::mismatch_bytes:
        is_match = !has_bytes(registers, *op);
        break;
      case Op::Kind::decide:
        registers.verdict = op->verdict;
        if (op->verdict.code != VerdictCode::next) return op->verdict.code;
        break;
    }
    if (!is_match) return VerdictCode::fail;
  }
  return VerdictCode::next;
}

struct Position {
  const CompiledChain* chain;
  std::size_t next_rule;
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
  Position here{.chain = &base, .next_rule = 0};

  for (;;) {
    if (here.next_rule == here.chain->rules.size()) {
      // The chain has ended.
      if (kObserved && here.chain != &base) context.observer->on_return(context, *here.chain);
      if (depth == 0) break;
      here = stack[--depth];
      continue;
    }
    const CompiledRule& rule = here.chain->rules[here.next_rule++];
    const Op* const first = here.chain->ops.data() + rule.first_op;
    const VerdictCode code = run_ops(first, first + rule.op_count, registers, context);
    if (code == VerdictCode::fail) continue;
    if (code == VerdictCode::next) registers.verdict.code = code;
    const Verdict& verdict = registers.verdict;
    if constexpr (kObserved) {
      context.observer->on_rule(context, *here.chain, *rule.rule, verdict);
    }
    switch (code) {
      case VerdictCode::next:
      case VerdictCode::fail:
        continue;
      case VerdictCode::jump:
        if (depth == kJumpsMax) return Verdict::of(VerdictCode::drop);  // Validation rules it out.
        stack[depth++] = here;
        here = {.chain = chains_[verdict.chain].get(), .next_rule = 0};
        continue;
      case VerdictCode::go_to:
        here = {.chain = chains_[verdict.chain].get(), .next_rule = 0};
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
