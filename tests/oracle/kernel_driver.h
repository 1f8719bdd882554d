#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/driver.h"

namespace weir::test {

/// The oracle: the kernel's own netfilter, as a gateway in a network namespace.
///
/// The calling process enters a new namespace of its own, the gateway's, and makes another for the
/// peers; neither has a name, so both vanish with the process and nothing is left behind. Each port is
/// a veth pair. At the peers' ends nothing is configured: AF_PACKET sockets put frames in and take what
/// comes out. Checksum offload is off, so every checksum on the wire is a finished one. Neighbours are
/// permanent entries, so that no scenario waits for ARP.
///
/// Sending runs the gateway's whole receive path before it returns, mostly; collect() therefore only
/// waits long enough to notice what a busy machine delays.
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

  Result<void> make_namespaces();
  Result<void> make_links(const Network& network);
  Result<void> open_wires(const Network& network);
  Result<void> configure(const Network& network);
  Result<void> add_rules(const Network& network);
  void drain(std::vector<PortFrame>& frames);

  int peers_ = -1;  // Namespaces.
  int gateway_ = -1;
  std::vector<Wire> wires_;
};

}  // namespace weir::test
