#pragma once

#include <string>

#include "base/error.h"
#include "tests/support/scenario.h"

namespace weir::test {

/// A scenario's network as this machine's kernel has it: the calling process enters a network
/// namespace of its own, the gateway's, with a veth pair for each port. The pairs' other ends lie
/// in a second namespace, where nothing is configured. Neither has a name, so both vanish with the
/// process.
///
/// Both drivers use it: the oracle lets the kernel forward; weir's driver reads routes, addresses
/// and neighbours from it, as the daemon does.
class GatewayNamespace {
 public:
  GatewayNamespace() = default;
  ~GatewayNamespace();
  GatewayNamespace(const GatewayNamespace&) = delete;
  GatewayNamespace& operator=(const GatewayNamespace&) = delete;

  /// Makes all of it; neighbours are permanent entries, so that no scenario waits for ARP. Checksum
  /// offload is off at the gateway's ends, so that the checksums on the wire are finished ones.
  Result<void> set_up(const Network& network);

  /// Moves the process to the peers' namespace and back, to open sockets there.
  Result<void> enter_peers() const;
  Result<void> enter_gateway() const;

  /// Runs one command of iproute2 in the gateway.
  Result<void> ip(const std::string& words) const;

 private:
  Result<void> make_namespaces();
  Result<void> make_links(const Network& network) const;
  Result<void> raise_peers(const Network& network) const;
  Result<void> configure(const Network& network) const;
  Result<void> add_rules(const Network& network) const;

  int peers_ = -1;
  int gateway_ = -1;
};

}  // namespace weir::test
