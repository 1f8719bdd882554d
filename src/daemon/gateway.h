#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file_descriptor.h"
#include "daemon/device.h"
#include "daemon/handover.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "daemon/reload.h"
#include "daemon/separation.h"
#include "daemon/settings.h"
#include "daemon/supervision.h"
#include "daemon/worker_thread.h"
#include "engine/control_plane.h"
#include "engine/engine.h"
#include "engine/state.h"
#include "engine/state_rules.h"
#include "routing/mirror.h"

namespace weir::daemon {

/// Who started weir, and how it was told what to do.
struct Surroundings {
  ServiceManager manager;
  FileDescriptor listener;  // Of the tools' socket, when the manager has opened it.
  /// The settings that the text of a configuration file gives, with the command line; null when
  /// none was named.
  std::function<Result<Settings>(const std::string& config)> reread;
};

/// A running engine on a host: its devices, its threads, the mirror of the kernel's tables, and the
/// nfnetlink server. The thread that calls run() is the control thread. open() gives up the
/// process's privileges half-way (Separation::confine).
class Gateway final : private routing::MirrorListener, private control::Watcher {
 public:
  /// Opens everything but lets nothing through yet. What was opened is given back when this fails.
  /// With a Takeover in the place of an engine that runs, whose connections, rules and clients go
  /// on, at once; and which goes on itself when this fails (replace.cc).
  static Result<std::unique_ptr<Gateway>> open(const Settings& settings, const Separation& parts,
                                               Surroundings surroundings,
                                               std::optional<Takeover> takeover = {});
  ~Gateway() override;

  /// Opens the gate with the rules of the last run; where settings.rules names a file, with those
  /// that it has loaded. Without either the gate opens with the first rules that come over the
  /// socket.
  Result<void> load_rules();

  /// Serves until `signals` (a signalfd) brings another one than SIGHUP, which reloads. Errors:
  /// EPIPE when the privileged process has died.
  Result<void> run(int signals);

 private:
  /// The privileged process's end of the socketpair: readable when it has died.
  struct HostWatcher final : control::Watcher {
    void on_readable() override { is_dead = true; }
    bool is_dead = false;
  };

  Gateway(const Settings& settings, const Separation& parts, Surroundings surroundings)
      : settings_(settings), parts_(parts), surroundings_(std::move(surroundings)) {}

  Result<void> open_state();
  Result<void> open_control();
  Result<std::unique_ptr<engine::ControlPlane>> open_server(
      const control::Server::Options& options);
  Result<void> open_ports();
  Result<void> start_workers();
  void restore_rules();

  // replace.cc
  Result<void> begin_takeover();
  Result<void> stop_other();
  Result<void> complete_takeover();
  Result<void> open_handover();
  void flush_lost_masquerades();
  Result<void> stop_for_successor();
  void take_queues(std::uint16_t port);
  void go_on();

  void turn();
  void open_gate_when_loaded();
  void open_gate();
  void tell_status();

  // gateway_reload.cc
  void reload();
  Result<void> try_reload();
  Result<Settings> read_settings_again();
  Result<void> load_rules_again(const std::string& name);
  void apply_ports(const Changes& changes);
  void apply_sysctls(const Changes& changes);
  Result<void> apply_limits(const Settings& settings);

  void close_port(std::uint16_t port);
  void reopen_port(std::uint16_t port);
  void give_queues(std::uint16_t port, const std::vector<pipeline::PortQueues>& queues);

  // routing::MirrorListener
  void address_gone(const routing::InterfaceAddress& address) override;
  void link_gone(const routing::Link& link, bool is_removed) override;
  void link_changed(const routing::Link& link) override;
  void neighbour_changed(const routing::NeighbourKey& key,
                         const routing::Neighbour& neighbour) override;
  // control::Watcher
  void on_readable() override;

  Settings settings_;  // A port without a name is a place that a reload has left, or not yet filled.
  const Separation& parts_;
  Surroundings surroundings_;
  HostWatcher host_watcher_;
  bool has_started_ = false;
  bool has_restored_ = false;  // The rules of the last run are in place.
  bool is_replaced_ = false;   // What is set up on the host is another engine's.
  std::optional<Takeover> takeover_;
  Time other_stopped_{};
  std::optional<engine::State> state_;
  bool owns_socket_ = false;  // Its file is ours to remove.
  RuleLog rule_log_;
  std::unique_ptr<engine::Engine> engine_;
  std::unique_ptr<engine::RulesKeeper> rules_keeper_;
  std::unique_ptr<engine::ControlPlane> control_;
  std::unique_ptr<Handover> handover_;
  std::unique_ptr<routing::Mirror> mirror_;
  std::vector<std::unique_ptr<Device>> devices_;  // By port; null while the device is away.
  std::vector<std::unique_ptr<WorkerThread>> threads_;
  std::unique_ptr<Supervision> supervision_;
  Time next_tick_{};
  std::uint64_t first_generation_ = 0;
};

}  // namespace weir::daemon
