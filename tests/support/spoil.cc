#include <fmt/format.h>

#include "tests/support/play.h"

namespace weir::test {

namespace {

/// Each expectation of a script in turn: every packet that must come out, every step from which
/// nothing may come, every line of a table, every word looked for in the ruleset.
template <typename Visitor>
void visit_expectations(Scenario& scenario, const Visitor& visitor) {
  for (Statement& statement : scenario.script) {
    if (auto* step = std::get_if<Step>(&statement.what)) {
      for (std::size_t i = 0; i < step->expected.size(); ++i) visitor(*step, i);
      if (step->expected.empty()) visitor(*step, 0);
    } else if (auto* table = std::get_if<TableIs>(&statement.what)) {
      for (std::size_t i = 0; i < table->entries.size(); ++i) visitor(*table, i);
      if (table->entries.empty()) visitor(*table, 0);
    } else if (auto* has = std::get_if<RulesetHas>(&statement.what)) {
      visitor(*has, 0);
    }
  }
}

/// A packet that comes out must be missed when nothing, or something else, is expected.
std::string spoil_one(Step& step, std::size_t index, const Network& network) {
  if (step.expected.empty()) {
    Packet any;
    any.layers.push_back({.kind = "ip", .fields = {}});
    step.expected.push_back({.port = network.ports.front().name,
                             .packet = std::move(any),
                             .side = Side::both,
                             .line = step.sent.empty() ? 0 : step.sent.back().line});
    return "a packet is expected where nothing comes";
  }
  Expected& expected = step.expected[index];
  if (expected.packet.base == Base::same) {
    expected.packet.changes.push_back({"data.hex", "5b011ed0"});
    return fmt::format("line {}: another payload is expected", expected.line);
  }
  if (expected.packet.layers[0].has("src")) {
    const bool is_ip6 = expected.packet.layers[0].kind == "ip6";
    expected.packet.layers[0].set("src", is_ip6 ? "2001:db8:bad::1" : "192.0.2.99");
  }
  return fmt::format("line {}: another source is expected", expected.line);
}

std::string spoil_one(TableIs& table, std::size_t index, const Network&) {
  if (table.entries.empty()) {
    table.entries.push_back({.words = "udp", .side = Side::both, .line = 0});
    return "an entry is expected in an empty table";
  }
  table.entries[index].words += " bytes=1";
  return fmt::format("line {}: another byte count is expected", table.entries[index].line);
}

std::string spoil_one(RulesetHas& has, std::size_t, const Network&) {
  has.is_wanted = !has.is_wanted;
  return fmt::format("'{}' is expected the other way round", has.words);
}

}  // namespace

void keep_side(Scenario& scenario, Side side) {
  const auto is_others = [&](const auto& each) {
    return each.side != Side::both && each.side != side;
  };
  std::erase_if(scenario.script, [&](const Statement& statement) {
    const auto* const has = std::get_if<RulesetHas>(&statement.what);
    return has != nullptr && is_others(*has);
  });
  for (Statement& statement : scenario.script) {
    if (auto* step = std::get_if<Step>(&statement.what)) std::erase_if(step->expected, is_others);
    if (auto* table = std::get_if<TableIs>(&statement.what)) {
      std::erase_if(table->entries, is_others);
    }
  }
}

std::size_t count_expectations(const Scenario& scenario) {
  Scenario copy = scenario;
  std::size_t count = 0;
  visit_expectations(copy, [&](auto&, std::size_t) { ++count; });
  return count;
}

std::string spoil(Scenario& scenario, std::size_t index) {
  std::size_t count = 0;
  std::string what;
  visit_expectations(scenario, [&](auto& statement, std::size_t i) {
    if (count++ == index) what = spoil_one(statement, i, scenario.network);
  });
  return what;
}

}  // namespace weir::test
