#pragma once

#include <cstdint>

#include "nat/range.h"
#include "netlink/attributes.h"
#include "netlink/writer.h"
#include "rules/registers.h"

namespace weir::rules {

/// The registers that hold the first and last port of a NAT range, as nat, masq and redir name
/// them. Register zero: no ports.
struct NatPorts {
  RegisterIndex min = 0;
  RegisterIndex max = 0;

  bool are_given() const { return min != 0; }
  /// Reads NFTA_*_REG_PROTO_MIN and _MAX; one that is alone stands for both.
  static Result<NatPorts> parse(const netlink::Attributes& attributes, std::uint16_t min_type,
                                std::uint16_t max_type);
  void dump(netlink::Writer& writer, std::uint16_t min_type, std::uint16_t max_type) const;
  /// Fills in the range's ports. The flag is the expression's business: it is one of those that it
  /// dumps.
  void read(const Registers& registers, nat::Range& range) const;
};

}  // namespace weir::rules
