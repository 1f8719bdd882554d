#pragma once

#include <cstdint>

#include "base/error.h"
#include "conntrack/edit.h"
#include "netlink/attributes.h"

namespace weir::control::ctnetlink {

/// The parts of IPCTNL_MSG_CT_NEW that say what a connection is to be like, each read when its turn
/// comes: as in the kernel, the first part that is wrong gives the error, and the order differs
/// between a connection that is made and one that is changed. Every part may be absent.
class EditReader {
 public:
  explicit EditReader(const netlink::Attributes& attributes) : attributes_(attributes) {}

  const conntrack::Edit& edit() const { return edit_; }

  /// CTA_HELP: a helper's name, empty for none.
  Result<std::string_view> helper_name() const;
  void set_helper(std::uint16_t number);
  /// CTA_TIMEOUT
  void read_timeout();
  /// CTA_STATUS. Errors: EBUSY when `present`, the status so far, doesn't allow it.
  Result<void> read_status(std::uint32_t present);
  /// CTA_PROTOINFO, of what `protocol` has.
  Result<void> read_protocol(std::uint8_t protocol);
  /// CTA_MARK and CTA_MARK_MASK
  void read_mark();
  /// CTA_SEQ_ADJ_ORIG and CTA_SEQ_ADJ_REPLY
  Result<void> read_sequence();
  /// CTA_SYNPROXY
  Result<void> read_synproxy();
  /// CTA_LABELS and CTA_LABELS_MASK
  Result<void> read_labels();

 private:
  Result<void> read_tcp(const netlink::Attributes& info);
  Result<void> read_sctp(const netlink::Attributes& info);
  Result<void> read_dccp(const netlink::Attributes& info);

  const netlink::Attributes& attributes_;
  conntrack::Edit edit_;
};

}  // namespace weir::control::ctnetlink
