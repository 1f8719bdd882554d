#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "rules/compiled.h"
#include "rules/ruleset.h"

namespace weir::replay {

/// Packets and bytes (of IP datagrams).
struct Count {
  std::uint64_t packets = 0;
  std::uint64_t bytes = 0;
  void add(std::uint32_t ip_bytes) {
    ++packets;
    bytes += ip_bytes;
  }
};

struct RuleLine {
  std::uint64_t handle = 0;
  std::string text;  // As nft lists it, without counters' values.
  Count matched;  // Packets for which every expression matched, whether the rule has a counter or
                  // not.
};

struct ChainLine {
  std::string family;
  std::string table;
  std::string name;
  bool is_base = false;
  std::string hook;    // Of base chains,
  std::string policy;  // likewise, and
  Count by_policy;     // what their rules did not decide.
  std::vector<RuleLine> rules;

  /// "inet gateway forward"
  std::string full_name() const { return family + " " + table + " " + name; }
};

/// The loaded rules as a person knows them, and what they did.
class RuleBook {
 public:
  /// `listing` is what `nft -a -s list ruleset` says of `ruleset`, which must not change
  /// afterwards.
  RuleBook(const rules::Ruleset& ruleset, const std::string& listing);
  RuleBook() = default;

  const std::vector<ChainLine>& chains() const { return chains_; }
  /// Null for a rule or chain that isn't in the book.
  RuleLine* find(const rules::Rule& rule);
  ChainLine* find(const rules::CompiledChain& chain);

 private:
  struct Place {
    std::size_t chain = 0;
    std::size_t rule = 0;
  };
  std::vector<ChainLine> chains_;
  std::unordered_map<const rules::Rule*, Place> rule_places_;
  std::unordered_map<const rules::CompiledChain*, std::size_t> chain_places_;
};

/// The texts of a listing by "family table handle": handles are unique within a table.
std::unordered_map<std::string, std::string> texts_by_handle(const std::string& listing);

}  // namespace weir::replay
