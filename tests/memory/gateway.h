#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "engine/control_plane.h"
#include "engine/engine.h"
#include "io/memory_port.h"

namespace weir::test {

/// The sides of the gateway; the values are the engine's port numbers.
enum class Side : std::uint16_t { lan = 0, wan = 1 };

/// An engine between two networks in memory, whose workers are turned by hand and whose time is the
/// caller's:
///
///     lan0: 192.168.77.1/24, 2001:db8:77::1/64; behind it 10.0.0.0/8 and 2001:db8:a::/48
///     wan0: 203.0.113.1/24, 2001:db8:113::1/64; behind it everything else
///
/// Next hops need no resolving; keys are fixed, so that two gateways make equal choices.
class MemoryGateway {
 public:
  struct Options {
    std::uint16_t workers = 1;
    std::size_t batch = packet::kBatchMax;
    std::uint32_t conntrack_max = 4096;
    std::size_t small_buffers = 4096;
    std::size_t large_buffers = 64;
    std::uint32_t wan_mtu = 1500;
  };
  static constexpr Time kStart{std::chrono::hours(1)};

  /// Never fails but for lack of memory.
  static Result<std::unique_ptr<MemoryGateway>> create(const Options& options);

  /// Loads a ruleset by nft over a socket, as the daemon does. Errors: nft's.
  Result<void> load_rules(const std::string& text);
  /// What an unmodified `nft` prints when it is given these words.
  Result<std::string> nft(const std::vector<std::string>& words);
  void open() { engine_->open(); }

  /// A frame arrives; false when the worker has no buffer for it.
  bool put(Side side, Bytes frame, std::uint16_t worker = 0);
  /// Turns a worker until it has nothing to do, at most a bounded number of times.
  void turn(std::uint16_t worker = 0);
  /// The next frame that has left, in order per port and worker; empty when there is none.
  std::vector<std::uint8_t> take(Side side, std::uint16_t worker = 0);

  Time now() const { return now_; }
  void advance(Duration by) { now_ += by; }

  engine::Engine& engine() { return *engine_; }
  /// Every connection, in the arena's order.
  std::vector<conntrack::Snapshot> connections();
  /// Ends all connections, and what waits for its time (fragments, held packets). With one worker.
  void forget();

 private:
  explicit MemoryGateway(const Options& options) : options_(options) {}
  io::MemoryQueue& queue(Side side, std::uint16_t worker) {
    return *queues_[static_cast<std::size_t>(side)][worker];
  }
  Result<std::string> run_nft(const std::vector<std::string>& words, const std::string& rules);
  void add_ports();
  void set_up_routes();

  Options options_;
  Time now_ = kStart;
  std::array<std::vector<std::unique_ptr<io::MemoryQueue>>, 2> queues_;
  std::unique_ptr<engine::Engine> engine_;  // Goes first: its workers use the queues.
};

}  // namespace weir::test
