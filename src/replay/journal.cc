#include "replay/journal.h"

#include <fmt/format.h>

#include "replay/packet_text.h"
#include "wire/protocol.h"

namespace weir::replay {
namespace {

/// More is no explanation any more: base chains times jumps of a ruleset that tries.
constexpr std::size_t kMostDecisions = 32;
constexpr std::size_t kMostSent = 256;

bool is_final(rules::VerdictCode code) { return static_cast<std::int32_t>(code) >= 0; }

}  // namespace

void Journal::begin(Time now, Verdict unless_seen) {
  now_ = now;
  current_.verdict = unless_seen;
  current_.drop = packet::Drop::none;
  current_.ct = {};
  current_.decisions.clear();
  current_.findings.clear();
  current_.sent.clear();
}

void Journal::refuse_piece(packet::Drop reason) {
  current_.verdict = Verdict::dropped;
  current_.drop = reason;
}

void Journal::see(const packet::Packet& packet) {
  if (packet.is_from_host) return;
  current_.ct = packet.ct;
  const std::uint32_t entry = packet.ct.entry;
  if (entry == 0) return;
  if (entry >= last_seen_.size()) last_seen_.resize(entry + 1);
  last_seen_[entry] = now_;
}

void Journal::on_sent(const packet::Packet& packet, Side side) {
  see(packet);
  if (!packet.is_from_host) current_.verdict = Verdict::forwarded;
  if (!explains_ || current_.sent.size() >= kMostSent) return;
  current_.sent.push_back({.side = side,
                           .is_own = packet.is_from_host,
                           .text = packet_text(packet),
                           .ends = ends_text(packet)});
}

void Journal::on_delivered(const packet::Packet& packet) {
  if (packet.family == wire::Family::none) return;  // Not IP, and said so from the beginning.
  see(packet);
  if (!packet.is_from_host) current_.verdict = Verdict::to_host;
}

void Journal::on_drop(const packet::Packet& packet, packet::Drop reason) {
  see(packet);
  if (packet.is_from_host) return;
  current_.verdict = Verdict::dropped;
  current_.drop = reason;
}

void Journal::on_findings(const packet::Packet& packet, const helpers::Helper& helper,
                          const nat::Findings& findings) {
  if (!explains_ || packet.is_from_host) return;
  if (findings.must_drop) {
    current_.findings.push_back(fmt::format("helper {} found half an announcement", helper.name()));
  }
  for (const nat::Finding& finding : findings.all()) {
    const conntrack::Tuple& tuple = finding.expected.tuple;
    current_.findings.push_back(fmt::format(
        "helper {} expects {} from {} to {} port {}", helper.name(),
        wire::protocol_name(tuple.protocol), wire::to_string(tuple.src, tuple.family),
        wire::to_string(tuple.dst, tuple.family), tuple.dst_port.host()));
  }
}

void Journal::decide(const packet::Packet& packet, const Decision& decision) {
  see(packet);
  if (!explains_ || packet.is_from_host || current_.decisions.size() >= kMostDecisions) return;
  current_.decisions.push_back(decision);
}

void Journal::on_rule(const rules::Context& context, const rules::CompiledChain& chain,
                      const rules::Rule& rule, const rules::Verdict& verdict) {
  RuleLine* const line = book_ == nullptr ? nullptr : book_->find(rule);
  if (line == nullptr) return;
  line->matched.add(context.packet->ip_length);
  if (is_final(verdict.code))
    decide(*context.packet, {.chain = book_->find(chain), .rule = line, .code = verdict.code});
}

void Journal::on_policy(const rules::Context& context, const rules::CompiledChain& chain,
                        rules::VerdictCode policy) {
  ChainLine* const line = book_ == nullptr ? nullptr : book_->find(chain);
  if (line == nullptr) return;
  line->by_policy.add(context.packet->ip_length);
  decide(*context.packet, {.chain = line, .rule = nullptr, .code = policy});
}

}  // namespace weir::replay
