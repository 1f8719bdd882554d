#pragma once

#include "helpers/helper.h"

namespace weir::helpers {

/// TFTP (RFC 1350). The server answers a request from a port of its own choosing, so each request
/// predicts one UDP flow from any of the server's ports back to the client.
class Tftp final : public Helper {
 public:
  std::string_view name() const override { return "tftp"; }
  std::uint8_t protocol() const override;
  std::span<const nat::ExpectationPolicy> policies() const override;
  nat::Findings inspect(const nat::Payload& payload) const override;
};

}  // namespace weir::helpers
