#pragma once

#include <map>
#include <optional>
#include <string>

#include "tools/conntrack/flow.h"

namespace weir::tools::conntrack {

/// The labels' names: lines of "BIT NAME" (connlabel.conf(5)).
class LabelNames {
 public:
  static constexpr const char* kFile = "/etc/xtables/connlabel.conf";

  /// From the system's file; empty when there is none.
  static LabelNames load(const char* file = kFile);

  bool empty() const { return bits_.empty(); }
  std::optional<unsigned> bit(const std::string& name) const;
  /// Empty for a bit without a name.
  std::string name(unsigned bit) const;

 private:
  std::map<std::string, unsigned> bits_;
  std::map<unsigned, std::string> names_;
};

bool has_label(const Labels& labels, unsigned bit);
/// Grows the labels to hold the bit, in whole words of 32 as ctnetlink wants them.
void set_label(Labels& labels, unsigned bit);

}  // namespace weir::tools::conntrack
