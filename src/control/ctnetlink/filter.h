#pragma once

#include <cstdint>
#include <optional>

#include "base/error.h"
#include "conntrack/entry.h"
#include "control/ctnetlink/attributes.h"
#include "netlink/attributes.h"
#include "netlink/message.h"

namespace weir::control::ctnetlink {

/// Which connections a dump or a flush means: family, mark, zone, status, and parts of the tuples.
class Filter {
 public:
  /// Matches every connection.
  Filter() = default;

  /// From a request's attributes; `family` is zero for both. Errors: EINVAL.
  static Result<Filter> read(const netlink::Attributes& attributes, std::uint8_t family);

  /// Whether it leaves anything out; the kernel marks such a dump NLM_F_DUMP_FILTERED.
  bool is_narrow() const { return is_narrow_; }
  bool matches(const conntrack::Snapshot& connection) const;

 private:
  struct TupleMatch {
    conntrack::Tuple tuple;
    TupleParts parts = 0;
    bool matches(const conntrack::Tuple& other) const;
  };

  Result<void> read_tuples(const netlink::Attributes& attributes, std::uint8_t family);

  std::uint8_t family_ = 0;
  std::optional<std::uint16_t> zone_;
  std::uint32_t mark_ = 0;
  std::uint32_t mark_mask_ = 0;
  std::uint32_t status_ = 0;
  std::uint32_t status_mask_ = 0;
  TupleMatch original_;
  TupleMatch reply_;
  bool is_narrow_ = false;
};

/// The attributes of a request about connections. Errors: as Attributes::parse; EINVAL for what
/// only events may have.
Result<netlink::Attributes> parse_request(const netlink::Message& message);

}  // namespace weir::control::ctnetlink
