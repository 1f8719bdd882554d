#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "tests/support/packet_bytes.h"
#include "tests/support/scenario.h"

namespace weir::test {

/// A frame at a port's peer, from its Ethernet header on.
struct PortFrame {
  std::string port;
  ByteString bytes;
};

/// The Ethernet addresses of the wires; `port` counts from 0.
std::array<std::uint8_t, 6> gateway_mac(std::size_t port);
std::array<std::uint8_t, 6> peer_mac(std::size_t port);

/// A gateway under test: the kernel in a network namespace, or weir's engine in this process. Made
/// for one scenario and thrown away after it.
class Driver {
 public:
  virtual ~Driver() = default;

  /// Makes ports, addresses, routes and neighbours, sets the sysctls, then loads the rules.
  virtual Result<void> set_up(const Network& network, const std::string& rules) = 0;

  /// Puts one frame on the wire at the port's peer.
  virtual Result<void> send(const std::string& port, Bytes frame) = 0;

  /// Everything that came out since the last call, in order for each port. A driver in real time
  /// waits until `expected` frames that aren't noise are there, then a little for one too many.
  virtual std::vector<PortFrame> collect(std::size_t expected) = 0;

  /// Lets time pass. The kernel's driver really waits up to three seconds; longer waits age the
  /// conntrack table and nothing else.
  virtual Result<void> wait(Duration time) = 0;

  /// The conntrack table, one line an entry, as `conntrack -L -o extended` prints it.
  virtual Result<std::vector<std::string>> table() = 0;

  /// What `nft ARGS` prints.
  virtual Result<std::string> nft(const std::string& words) = 0;

  /// Changes the network, as `ip WORDS` does. ENOTSUP when the driver can't.
  virtual Result<void> ip(const std::string& words) = 0;
};

}  // namespace weir::test
