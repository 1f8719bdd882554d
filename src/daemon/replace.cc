// How one engine takes the place of another (handover.h), from both sides.
//
// The new engine makes everything ready while the old one forwards: it maps the same arena without
// touching it, makes the saved rules on trial, mirrors routes, and opens the ports beside the old
// engine's. From then on AF_PACKET gives it a copy of each frame, which waits in its ring, and what
// the host sends waits in its TAP. Then the old engine stops, and the new one goes through what has
// waited: no frame is lost, and those that both have had (of the milliseconds between opening and
// stopping) go out twice, which IP allows. A device whose driver gives a frame to one engine only
// (AF_XDP) is opened when the old one has closed it, and what arrives meanwhile is lost.
//
// Until the new engine says that the old one may leave, it has written nothing that the old one
// would go on with, so that the old one can go on.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "conntrack/control.h"
#include "control/nftables/save.h"
#include "daemon/gateway.h"
#include "daemon/privileges.h"

namespace weir::daemon {
namespace {

constexpr int kLastRounds = 64;  // For what is left in a stopped worker's queues.

/// Whether only one engine can have the device open.
bool is_exclusive(const Device& device) { return device.choice().driver == io::Driver::af_xdp; }

}  // namespace

// The old engine's side.

Result<void> Gateway::open_handover() {
  if (takeover_) {
    takeover_.reset();
    if (auto accepting = control_->server().accept_clients(); !accepting) return accepting;
    spdlog::info(
        "took the place of the running engine: {} connections go on; nothing was "
        "forwarded for {:.1f} ms",
        engine_->conntrack().recovery().kept,
        std::chrono::duration<double, std::milli>(boot_time() - other_stopped_).count());
  }
  const FileIdentity as_engine(parts_.identity());
  auto handover = Handover::open(
      settings_.state, control_->server(),
      {.descriptors =
           [this] {
             const control::Listener& listener = control_->server().listener();
             return std::array<int, 3>{state_->lock_fd(), listener.get(), listener.lock()};
           },
       .has_exclusive_devices =
           [this] {
             return std::any_of(devices_.begin(), devices_.end(), [](const auto& device) {
               return device != nullptr && is_exclusive(*device);
             });
           },
       .stop = [this] { return stop_for_successor(); },
       .go_on = [this] { go_on(); }});
  if (!handover) return std::unexpected(handover.error());
  handover_ = std::move(*handover);
  flush_lost_masquerades();
  return {};
}

/// Addresses may have gone while no engine was there to hear of it (nf_nat_masquerade's notifiers).
void Gateway::flush_lost_masquerades() {
  if (engine_->conntrack().recovery().kept == 0) return;
  const auto& addresses = engine_->routing().addresses();
  const auto is_lost = [&](const conntrack::Snapshot& connection) {
    return connection.nat.masquerade_ifindex != 0 &&
           std::none_of(addresses.begin(), addresses.end(), [&](const auto& address) {
             return nat::goes_with_address(connection, address.ifindex, address.family,
                                           address.local);
           });
  };
  conntrack::Control control(engine_->conntrack(), engine_->control_participant());
  if (const std::size_t count = control.flush(boot_time(), 0, is_lost); count > 0)
    spdlog::info("{} masqueraded connections deleted, whose addresses have gone", count);
}

Result<void> Gateway::stop_for_successor() {
  threads_.clear();
  engine_->conntrack().set_waker(nullptr, nullptr);
  for (std::uint16_t i = 0; i < engine_->workers(); ++i) {
    pipeline::Worker& worker = engine_->worker(i);
    for (int round = 0; round < kLastRounds && worker.turn(boot_time(), wall_time()); ++round) {
    }
    worker.rest();
  }
  for (std::uint16_t port = 0; port < devices_.size(); ++port) {
    if (devices_[port] != nullptr && is_exclusive(*devices_[port])) take_queues(port);
  }
  return rules_keeper_->save();
}

/// Requires: no worker runs.
void Gateway::take_queues(std::uint16_t port) {
  const std::vector<pipeline::PortQueues> none(engine_->workers());
  engine_->replace_queues(port, none);
  for (std::uint16_t i = 0; i < engine_->workers(); ++i)
    engine_->worker(i).output().replace(port, none[i]);
  devices_[port].reset();
}

/// The ports' programs may be the other engine's by now: each is opened again, and programs are
/// replaced in place, for the kernel would reset connections that it doesn't know.
void Gateway::go_on() {
  if (threads_.empty()) {
    if (auto started = start_workers(); !started) {
      spdlog::error("going on: {}", started.error().text);
      return;
    }
  }
  for (std::uint16_t port = 0; port < devices_.size(); ++port) {
    if (settings_.ports[port].device.empty()) continue;
    give_queues(port, std::vector<pipeline::PortQueues>(engine_->workers()));
    devices_[port].reset();
    reopen_port(port);
  }
}

// The new engine's side.

/// Before the ports are opened.
Result<void> Gateway::begin_takeover() {
  if (!takeover_) return {};
  const auto saved = state_->read_rules();
  if (!saved) return std::unexpected(saved.error());
  rules::Ruleset trial(engine_->conntrack().epochs());
  if (*saved) {
    if (auto made = control::restore_ruleset(trial, **saved); !made) return made;
  }
  takeover_->announce_ports();
  return takeover_->has_exclusive_devices() ? stop_other() : Result<void>();
}

Result<void> Gateway::stop_other() {
  if (takeover_->has_stopped()) return {};
  other_stopped_ = boot_time();
  return takeover_->stop();
}

/// After the ports have been opened, before workers exist. Without an engine to replace, the last
/// run's state is what is taken over.
Result<void> Gateway::complete_takeover() {
  if (!takeover_) {
    if (settings_.rules.empty()) restore_rules();
    const auto& found = engine_->conntrack().recovery();
    if (found.kept > 0) spdlog::info("{} connections of the last run go on", found.kept);
    if (found.dropped > 0) spdlog::warn("{} damaged connections were dropped", found.dropped);
    return {};
  }
  if (auto stopped = stop_other(); !stopped) return stopped;
  restore_rules();
  takeover_->leave();
  is_replaced_ = false;
  engine_->conntrack().recover(boot_time());
  return {};
}

}  // namespace weir::daemon
