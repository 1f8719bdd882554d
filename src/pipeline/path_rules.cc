// The path's use of rules and NAT: the chains between two stages, and the NAT stages.
#include "nat/nat.h"
#include "pipeline/path.h"

namespace weir::pipeline {

using packet::Batch;
using packet::Drop;
using packet::Packet;

namespace {

Drop reason_for(const rules::HookVerdict& verdict, Drop said) {
  if (verdict.code == rules::VerdictCode::queue) return Drop::no_queue;
  if (verdict.code == rules::VerdictCode::stolen) return Drop::rejected;
  return said == Drop::none ? Drop::rule : said;
}

/// Which end of a connection a hook translates (the kernel's HOOK2MANIP).
constexpr nat::Manip manip_at(rules::Hook hook) {
  return hook == rules::Hook::prerouting || hook == rules::Hook::output ? nat::Manip::dst
                                                                        : nat::Manip::src;
}

}  // namespace

void Path::run_chains(Batch& batch, rules::Hook hook, std::int32_t from, std::int32_t until) {
  const bool has_ip = ruleset_->has_chains(rules::Family::ip, hook, from, until);
  const bool has_ip6 = ruleset_->has_chains(rules::Family::ip6, hook, from, until);
  if (!has_ip && !has_ip6) return;

  context_.hook = hook;
  std::size_t kept = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    Packet* const packet = batch[i];
    context_.packet = packet;
    rules::HookVerdict verdict;
    if (packet->family == wire::Family::ip6 ? has_ip6 : has_ip)
      verdict = ruleset_->run(context_, from, until);
    // Nobody takes packets out of the engine yet: `queue bypass` lets them go on, plain `queue`
    // drops.
    if (verdict.is_accept() ||
        (verdict.code == rules::VerdictCode::queue && verdict.queue_bypass)) {
      batch[kept++] = packet;
    } else {
      drop(packet, reason_for(verdict, packet->drop));
    }
  }
  batch.shrink_to(kept);
}

void Path::translate(Batch& batch, rules::Hook hook) {
  std::size_t kept = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    if (translate(*batch[i], hook)) {
      batch[kept++] = batch[i];
    } else {
      drop(batch[i], batch[i]->drop);
    }
  }
  batch.shrink_to(kept);
}

/// nf_nat_inet_fn: a connection's first packet asks the nat chains, every packet is rewritten by
/// what the connection was given. False when it is to be dropped.
bool Path::translate(Packet& packet, rules::Hook hook) {
  if (packet.ct.state != packet::CtState::tracked) return true;
  const nat::Manip manip = manip_at(hook);
  nat::Nat& nat = shared_.nat;
  if (nat.wants_setup(tracker_, packet, manip)) {
    context_.hook = hook;
    context_.packet = &packet;
    const auto is_done = [&] { return !nat.wants_setup(tracker_, packet, manip); };
    const rules::HookVerdict verdict = ruleset_->run_nat_chains(context_, is_done);
    if (!verdict.is_accept()) return packet.drop = reason_for(verdict, packet.drop), false;
    if (!is_done() && !nat.setup_null(tracker_, packet, manip, now_)) return false;
  }
  return nat.apply(tracker_, packet, manip, now_);
}

}  // namespace weir::pipeline
