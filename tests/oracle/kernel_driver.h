#pragma once

#include <string>
#include <vector>

#include "tests/oracle/gateway_namespace.h"
#include "tests/support/driver.h"

namespace weir::test {

/// The oracle: the kernel's own netfilter, as a gateway in a network namespace. AF_PACKET sockets
/// at the peers' ends of the wires put frames in and take what comes out.
///
/// Sending runs the gateway's whole receive path before it returns, mostly; collect() therefore
/// only waits long enough to notice what a busy machine delays.
class KernelDriver final : public Driver {
 public:
  KernelDriver() = default;
  ~KernelDriver() override;

  /// Why scenarios can't be played here: no root, no namespaces, no nft. Empty when they can.
  static std::string why_unavailable();

  Result<void> set_up(const Network& network, const std::string& rules) override;
  Result<void> send(const std::string& port, Bytes frame) override;
  std::vector<PortFrame> collect(std::size_t expected) override;
  Result<void> wait(Duration time) override;
  Result<std::vector<std::string>> table() override;
  Result<std::string> nft(const std::string& words) override;
  Result<void> ip(const std::string& words) override;

 private:
  struct Wire {
    std::string port;
    int socket = -1;  // At the peer's end; lives in the peers' namespace.
  };

  Result<void> open_wires(const Network& network);
  void drain(std::vector<PortFrame>& frames);

  GatewayNamespace namespace_;
  std::vector<Wire> wires_;
};

}  // namespace weir::test
