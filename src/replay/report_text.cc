#include <fmt/chrono.h>
#include <fmt/format.h>

#include <ctime>

#include "conntrack/status.h"
#include "replay/packet_text.h"
#include "replay/report.h"
#include "wire/protocol.h"

namespace weir::replay {
namespace {

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

std::string decision_text(const Decision& decision) {
  const bool is_drop = decision.code != rules::VerdictCode::accept;
  const std::string chain = decision.chain == nullptr ? "a chain" : decision.chain->full_name();
  if (decision.rule == nullptr)
    return fmt::format("{} policy {}", chain, is_drop ? "drop" : "accept");
  return fmt::format("{} `{}`", chain, decision.rule->text);
}

/// The decisions worth a line: those by rules, and what dropped the packet; a policy that accepts
/// only when nothing else decided.
std::string decisions_text(const Sighted& seen) {
  std::string text;
  for (const Decision& decision : seen.decisions) {
    if (decision.rule == nullptr && decision.code == rules::VerdictCode::accept) continue;
    text += (text.empty() ? "" : ", ") + decision_text(decision);
  }
  if (text.empty() && !seen.decisions.empty()) text = decision_text(seen.decisions.back());
  return text;
}

std::string repair_text(const PacketStory& story) {
  std::string text;
  if (story.prepared.ip_was_repaired) text += ", IP header finished";
  if (story.prepared.transport_was_repaired) text += ", checksum finished";
  if (story.is_cut) text += ", cut";
  return text;
}

std::string outcome_text(const PacketStory& story) {
  const Sighted& seen = *story.seen;
  switch (seen.verdict) {
    case Verdict::dropped:
      return fmt::format("dropped ({})", packet::kDropNames[static_cast<std::size_t>(seen.drop)]);
    case Verdict::to_host:
      return "to the host";
    case Verdict::held:
      return "held until the datagram is whole";
    case Verdict::not_ip:
      return "not IP";
    case Verdict::forwarded:
      return "forwarded";
  }
  return {};
}

std::string_view side_name(Side side) { return side == Side::inside ? "inside" : "outside"; }

void print_flows(const std::vector<Flow>& flows) {
  fmt::print("Flows: {}\n", flows.size());
  for (const Flow& flow : flows) {
    const conntrack::Snapshot& c = flow.connection;
    const std::uint32_t status = c.status;
    const std::string_view mark = (status & conntrack::status::kAssured) != 0     ? " [ASSURED]"
                                  : (status & conntrack::status::kSeenReply) == 0 ? " [UNREPLIED]"
                                                                                  : "";
    const std::string_view state = state_of(flow);
    fmt::print(
        "  {:<7} {}, reply {}{}{}{}{}\n          packets {} and {}, bytes {} and {}, from "
        "{:%H:%M:%S}, {:.3f} s\n",
        protocol_text(c.original.protocol), tuple_text(c.original), tuple_text(c.reply),
        state.empty() ? "" : ", ", state, mark, flow.is_over ? " (over)" : "", c.traffic[0].packets,
        c.traffic[1].packets, c.traffic[0].bytes, c.traffic[1].bytes,
        fmt::gmtime(
            static_cast<std::time_t>(std::chrono::floor<std::chrono::seconds>(c.start).count())),
        seconds(duration_of(flow)));
  }
}

void print_rules(const RuleBook& book) {
  fmt::print("Rules, with the packets that each matched:\n");
  for (const ChainLine& chain : book.chains()) {
    fmt::print("  {}{}\n", chain.full_name(),
               chain.is_base ? fmt::format(", {} hook", chain.hook) : "");
    for (const RuleLine& rule : chain.rules)
      fmt::print("    {:>9}  {}\n", rule.matched.packets, rule.text);
    if (chain.is_base) fmt::print("    {:>9}  policy {}\n", chain.by_policy.packets, chain.policy);
  }
}

void print_totals(const Totals& totals) {
  fmt::print(
      "Packets: {} read, {} forwarded, {} to the host, {} dropped, {} pieces held, {} not IP\n",
      totals.read, totals.forwarded, totals.to_host, totals.dropped, totals.held, totals.not_ip);
  for (std::size_t i = 0; i < totals.drops.size(); ++i) {
    if (totals.drops[i] != 0)
      fmt::print("  {:>9}  dropped: {}\n", totals.drops[i], packet::kDropNames[i]);
  }
  const std::pair<std::uint64_t, std::string_view> notes[] = {
      {totals.own, "ICMP errors and TCP resets sent by the gateway itself"},
      {totals.mapped, "answers mapped to the translated tuple of their flow"},
      {totals.ip_repaired, "IP headers that the sender's device was still to finish"},
      {totals.transport_repaired,
       "transport checksums that the sender's device was still to finish"},
      {totals.offloaded,
       "TCP segments longer than the MTU, which the sender's device was still to cut"},
      {totals.cut, "packets cut by the capture's snap length"},
      {totals.flows_lost, "flows that ended without being listed"},
  };
  for (const auto& [count, what] : notes) {
    if (count != 0) fmt::print("  {:>9}  {}\n", count, what);
  }
}

}  // namespace

std::string_view name_of(Verdict verdict) {
  constexpr std::string_view kNames[] = {"forwarded", "to_host", "dropped", "held", "not_ip"};
  return kNames[static_cast<std::size_t>(verdict)];
}

std::string_view state_of(const Flow& flow) {
  return flow.connection.original.protocol == wire::protocol::kTcp
             ? conntrack::to_string(flow.connection.tcp.phase)
             : "";
}

Duration duration_of(const Flow& flow) {
  return std::max(Duration{}, flow.last_seen - flow.connection.start);
}

void LineTeller::tell(const PacketStory& story) {
  const Sighted& seen = *story.seen;
  std::string line = fmt::format("{:>6} {:>12.6f}  {:<7}  {}", story.number,
                                 seconds(story.since_first), side_name(story.side), story.text);
  line += repair_text(story);
  if (story.is_mapped) line += fmt::format(", mapped to {}", story.ends);
  if (const std::string ct = ct_text(seen.ct); !ct.empty()) line += "  " + ct;
  line += "  " + outcome_text(story);
  if (const std::string why = decisions_text(seen); !why.empty()) line += " by " + why;
  for (const std::string& finding : seen.findings) line += "; " + finding;
  for (const Sent& sent : seen.sent) {
    if (sent.is_own) {
      line += fmt::format("; answered {}: {}", side_name(sent.side), sent.text);
    } else if (sent.ends != story.ends) {
      line += fmt::format("; leaves {} as {}", side_name(sent.side), sent.ends);
    }
  }
  fmt::print("{}\n", line);
}

void print_report(const Options& options, Player& player) {
  const Totals& totals = player.totals();
  if (options.explain) fmt::print("\n");
  fmt::print("{}: {} packets, {:.6f} s from {:%Y-%m-%d %H:%M:%S} UTC, through {}\n\n",
             options.capture, totals.read, seconds(totals.last - totals.first),
             fmt::gmtime(static_cast<std::time_t>(
                 std::chrono::floor<std::chrono::seconds>(totals.first).count())),
             options.rules);
  print_flows(player.flows());
  fmt::print("\n");
  print_rules(player.book());
  fmt::print("\n");
  print_totals(totals);
}

}  // namespace weir::replay
