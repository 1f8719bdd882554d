#pragma once

#include <string>

#include "tests/support/packet_text.h"

namespace weir::test {

/// Compares a scenario's line about a conntrack entry with one that `conntrack -L -o extended`
/// printed.
///
/// The expected words must appear in the entry in their order; those between them are free, but
/// [UNREPLIED], [ASSURED], [OFFLOAD] and the like must appear if and only if they are written.
/// "timeout=N" is met by N down to N - 3 seconds. Binds variables when the whole line matches.
bool match_table_line(const std::string& expected, const std::string& entry, Variables& variables);

}  // namespace weir::test
