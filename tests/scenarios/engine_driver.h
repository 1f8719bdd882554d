#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/control_plane.h"
#include "engine/engine.h"
#include "io/memory_port.h"
#include "routing/mirror.h"
#include "tests/oracle/gateway_namespace.h"
#include "tests/support/driver.h"

namespace weir::test {

/// weir's engine in this process: memory ports, a clock of its own, one worker that is turned by
/// hand. Its routes and neighbours are mirrored from a namespace, its rules come from nft over its
/// socket, as in the daemon.
class EngineDriver final : public Driver, private routing::MirrorListener {
 public:
  EngineDriver() = default;
  ~EngineDriver() override;

  /// Why scenarios can't be played here; empty when they can.
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
    std::unique_ptr<io::MemoryQueue> queue;
  };

  Result<void> make_engine(const Network& network);
  Result<std::string> run_nft(const std::vector<std::string>& words, const std::string& input);
  void turn_worker();
  void turn();

  void address_gone(const routing::InterfaceAddress& address) override;
  void link_gone(const routing::Link& link, bool is_removed) override;

  GatewayNamespace namespace_;
  std::string socket_path_;
  std::string preload_library_;
  Time now_ = boot_time();  // From there on it is virtual.
  std::vector<Wire> wires_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<engine::ControlPlane> control_;
  std::unique_ptr<routing::Mirror> mirror_;
};

}  // namespace weir::test
