#pragma once

#include <getopt.h>

#include <span>
#include <string_view>

#include "tools/conntrack/request.h"

/// What can stand on the command line, as tables: conntrack(8)'s options and weir's own, and which
/// command takes which.
namespace weir::tools::conntrack {

/// Options that have no letter.
enum LongOption : int {
  kSourcePort = 256,
  kDestinationPort,
  kReplySourcePort,
  kReplyDestinationPort,
  kMaskSourcePort,
  kMaskDestinationPort,
  kTupleSourcePort,
  kTupleDestinationPort,
  kState,
  kRole,
  kOriginalVtag,
  kReplyVtag,
  kIcmpType,
  kIcmpCode,
  kIcmpId,
  kGroupBy,
  kTop,
  kNoResync,
  kIgnored,  // --kernel and --socket, which main has read already.
};

/// For getopt_long.
extern const option kOptions[];
extern const char* const kShortOptions;

/// The letters of the options that a command takes, and of those that it needs.
struct CommandRule {
  Command command;
  bool of_expectations;
  std::string_view name;
  std::string_view takes;  // Letters of options.
  std::string_view needs;
};

std::span<const CommandRule> command_rules();

}  // namespace weir::tools::conntrack
