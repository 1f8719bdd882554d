#pragma once

#include "helpers/helper.h"

namespace weir::helpers {

/// FTP (RFC 959, with RFC 1123 section 4.1.2.6 and RFC 2428): the client announces where it awaits
/// a data connection (PORT, EPRT), or the server does (227, 229).
///
/// An announcement counts only at the begin of a line, and only when the address is the announcer's
/// own (no bounce to a third host). Neither is an invitation to a client's port below 1024 taken:
/// nobody needs one, and a browser can be talked into sending PORT commands (NAT slipstreaming).
class Ftp final : public Helper {
 public:
  std::string_view name() const override { return "ftp"; }
  std::uint8_t protocol() const override;
  std::span<const nat::ExpectationPolicy> policies() const override;
  nat::Findings inspect(const nat::Payload& payload) const override;
  conntrack::Extension::HelperState picked_up() const override;
};

}  // namespace weir::helpers
