#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/error.h"
#include "tools/conntrack/flow.h"
#include "tools/conntrack/format.h"

namespace weir::tools::conntrack {

enum class Command { none, list, get, remove, insert, add, update, events, flush, count, stats, restore, top, help, version };
enum class Table { conntrack, expect, dying, unconfirmed };
enum class GroupBy { none, src, dst, port, zone };

/// Bits of Request::events.
inline constexpr unsigned kNewEvents = 1;
inline constexpr unsigned kUpdateEvents = 2;
inline constexpr unsigned kDestroyEvents = 4;
inline constexpr unsigned kAllEvents = kNewEvents | kUpdateEvents | kDestroyEvents;

struct MarkMatch {
  std::uint32_t value = 0;
  std::uint32_t mask = ~std::uint32_t{0};
};

/// A command line, understood and checked.
struct Request {
  Command command = Command::none;
  Table table = Table::conntrack;
  std::uint8_t family = 0;

  Flow flow;                                // What is made, or what entries must be equal to.
  Expectation expectation;                  // -I expect
  std::optional<Address> src_mask, dst_mask;  // For flow's original addresses.
  std::optional<MarkMatch> mark;
  std::uint32_t clear_status = 0;           // Bits that an entry must not have.
  bool with_source_nat = false, with_destination_nat = false, with_any_nat = false;
  NatTo any_nat;                            // Of --any-nat; the others are in flow.
  std::optional<Labels> labels;             // An entry must have all of them.
  std::optional<Labels> add_labels, remove_labels;
  bool removes_all_labels = false;
  bool compares = false;                    // Some option of flow must be compared.

  bool zeroes = false;
  unsigned events = kAllEvents;
  std::optional<std::uint32_t> buffer_bytes;
  bool resynchronises = true;
  Format format;
  GroupBy group_by = GroupBy::none;
  std::size_t shown_groups = 20;
  std::string file;                         // -R
};

/// Understands conntrack(8)'s options and weir's own. Errors: EINVAL with a text for the user.
Result<Request> parse_request(int argc, char** argv);

/// Whether the request's options let this entry through.
bool matches(const Request& request, const Flow& flow);

std::string usage();

}  // namespace weir::tools::conntrack
