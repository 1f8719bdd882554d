#pragma once

#include <optional>

#include "base/error.h"
#include "conntrack/edit.h"
#include "nat/nat.h"
#include "netlink/attributes.h"

namespace weir::control::ctnetlink {

/// CTA_NAT_SRC and CTA_NAT_DST of a connection that is to be made: chooses its reply tuple as rules
/// would. An end that is not told keeps its address, and its port where that is free.
class NatReader final : public conntrack::ReplyChooser {
 public:
  /// `nat` may be null: then EOPNOTSUPP if there is anything to translate. Errors: ERANGE for
  /// payloads that are too short.
  static Result<NatReader> read(const netlink::Attributes& attributes, wire::Family family,
                                nat::Nat* nat);

  bool is_wanted() const { return source_ || destination_; }
  bool choose(conntrack::Tracker& tracker, std::uint32_t entry, Time now) override;

 private:
  explicit NatReader(nat::Nat* nat) : nat_(nat) {}

  nat::Nat* nat_;
  std::optional<nat::Range> source_;
  std::optional<nat::Range> destination_;
};

}  // namespace weir::control::ctnetlink
