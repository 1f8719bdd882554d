#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "conntrack/proto/step.h"
#include "conntrack/status.h"
#include "replay/packet_text.h"
#include "replay/report.h"
#include "wire/protocol.h"

namespace weir::replay {
namespace {

using Object = nlohmann::ordered_json;

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

bool is_icmp(std::uint8_t protocol) {
  return protocol == wire::protocol::kIcmp || protocol == wire::protocol::kIcmpv6;
}

Object tuple_object(const conntrack::Tuple& tuple) {
  Object object = {{"src", wire::to_string(tuple.src, tuple.family)},
                   {"dst", wire::to_string(tuple.dst, tuple.family)}};
  if (is_icmp(tuple.protocol)) {
    object["type"] = tuple.dst_port.host() >> 8;
    object["code"] = tuple.dst_port.host() & 0xff;
    object["id"] = tuple.src_port.host();
  } else {
    object["sport"] = tuple.src_port.host();
    object["dport"] = tuple.dst_port.host();
  }
  return object;
}

Object flow_object(const Flow& flow) {
  const conntrack::Snapshot& c = flow.connection;
  Object object = {{"family", c.original.family == wire::Family::ip ? 4 : 6},
                   {"protocol", protocol_text(c.original.protocol)},
                   {"original", tuple_object(c.original)},
                   {"reply", tuple_object(c.reply)}};
  for (const auto& [name, way] : {std::pair{"original", 0}, std::pair{"reply", 1}}) {
    object[name]["packets"] = c.traffic[static_cast<std::size_t>(way)].packets;
    object[name]["bytes"] = c.traffic[static_cast<std::size_t>(way)].bytes;
  }
  if (const std::string_view state = state_of(flow); !state.empty()) object["state"] = state;
  object["is_assured"] = (c.status & conntrack::status::kAssured) != 0;
  object["is_replied"] = (c.status & conntrack::status::kSeenReply) != 0;
  object["is_over"] = flow.is_over;
  object["mark"] = c.mark;
  object["start"] = seconds(c.start);
  object["duration"] = seconds(duration_of(flow));
  return object;
}

Object chain_object(const ChainLine& chain) {
  Object object = {{"family", chain.family}, {"table", chain.table}, {"chain", chain.name}};
  if (chain.is_base) {
    object["hook"] = chain.hook;
    object["policy"] = {{"verdict", chain.policy},
                        {"packets", chain.by_policy.packets},
                        {"bytes", chain.by_policy.bytes}};
  }
  Object rules = Object::array();
  for (const RuleLine& rule : chain.rules) {
    rules.push_back({{"handle", rule.handle},
                     {"text", rule.text},
                     {"packets", rule.matched.packets},
                     {"bytes", rule.matched.bytes}});
  }
  object["rules"] = std::move(rules);
  return object;
}

Object totals_object(const Totals& totals) {
  Object drops = Object::object();
  for (std::size_t i = 0; i < totals.drops.size(); ++i) {
    if (totals.drops[i] != 0) drops[std::string(packet::kDropNames[i])] = totals.drops[i];
  }
  return {{"read", totals.read},
          {"forwarded", totals.forwarded},
          {"to_host", totals.to_host},
          {"dropped", totals.dropped},
          {"held", totals.held},
          {"not_ip", totals.not_ip},
          {"drops", std::move(drops)},
          {"own", totals.own},
          {"mapped", totals.mapped},
          {"ip_headers_finished", totals.ip_repaired},
          {"checksums_finished", totals.transport_repaired},
          {"longer_than_mtu", totals.offloaded},
          {"cut", totals.cut},
          {"flows_lost", totals.flows_lost}};
}

Object decision_object(const Decision& decision) {
  Object object;
  if (decision.chain != nullptr) {
    object = {{"family", decision.chain->family},
              {"table", decision.chain->table},
              {"chain", decision.chain->name}};
  }
  object["verdict"] = decision.code == rules::VerdictCode::accept ? "accept" : "drop";
  if (decision.rule != nullptr) {
    object["handle"] = decision.rule->handle;
    object["rule"] = decision.rule->text;
  } else {
    object["by_policy"] = true;
  }
  return object;
}

std::string_view side_name(Side side) { return side == Side::inside ? "inside" : "outside"; }

}  // namespace

Object story_object(const PacketStory& story) {
  const Sighted& seen = *story.seen;
  Object object = {{"number", story.number},
                   {"time", seconds(story.since_first)},
                   {"side", side_name(story.side)},
                   {"packet", story.text},
                   {"verdict", name_of(seen.verdict)}};
  if (seen.verdict == Verdict::dropped)
    object["drop"] = packet::kDropNames[static_cast<std::size_t>(seen.drop)];
  packet::CtRef state = seen.ct;
  state.reason = 0;
  if (const std::string text = ct_text(state); !text.empty()) object["ct"] = text;
  if (seen.ct.reason != 0) object["ct_reason"] = conntrack::kReasonTexts[seen.ct.reason];
  if (story.is_mapped) object["mapped_to"] = story.ends;
  Object decisions = Object::array();
  for (const Decision& decision : seen.decisions) decisions.push_back(decision_object(decision));
  object["decisions"] = std::move(decisions);
  object["findings"] = seen.findings;
  Object sent_list = Object::array();
  for (const Sent& sent : seen.sent) {
    sent_list.push_back({{"side", side_name(sent.side)},
                         {"packet", sent.text},
                         {"is_own", sent.is_own},
                         {"is_translated", !sent.is_own && sent.ends != story.ends}});
  }
  object["sent"] = std::move(sent_list);
  return object;
}

Object report_object(const Options& options, Player& player) {
  const Totals& totals = player.totals();
  Object flows = Object::array();
  for (const Flow& flow : player.flows()) flows.push_back(flow_object(flow));
  Object chains = Object::array();
  for (const ChainLine& chain : player.book().chains()) chains.push_back(chain_object(chain));
  return {{"capture", options.capture},       {"rules", options.rules},
          {"start", seconds(totals.first)},   {"duration", seconds(totals.last - totals.first)},
          {"packets", totals_object(totals)}, {"flows", std::move(flows)},
          {"chains", std::move(chains)}};
}

}  // namespace weir::replay
