#pragma once

#include <functional>
#include <memory>

#include "control/cthelper/cthelper.h"
#include "control/ctnetlink/ctnetlink.h"
#include "control/ctnetlink/events.h"
#include "control/ctnetlink/expect.h"
#include "control/cttimeout/cttimeout.h"
#include "control/nftables/nftables.h"
#include "control/own/own.h"
#include "control/server/server.h"
#include "engine/engine.h"

namespace weir::engine {

/// The engine's nfnetlink side: the server with every subsystem, and the control thread's standing
/// work. Whoever calls serve_once() is the control thread.
class ControlPlane {
 public:
  /// `now` reads the engine's clock. Errors: EADDRINUSE when another engine serves this socket.
  static Result<std::unique_ptr<ControlPlane>> open(Engine& engine,
                                                    const control::Server::Options& options,
                                                    std::function<Time()> now = boot_time);

  /// The same over the listener of an engine that still serves (control::Server::adopt).
  static Result<std::unique_ptr<ControlPlane>> adopt(Engine& engine,
                                                     const control::Server::Options& options,
                                                     control::Listener listener,
                                                     std::function<Time()> now = boot_time);

  control::Server& server() { return *server_; }
  /// The one who keeps what is committed, or null.
  void set_commit_observer(control::CommitObserver* observer) { nftables_.set_observer(observer); }

  /// Serves tools for at most `wait`, then does what there is to do between requests.
  void serve_once(Duration wait);

 private:
  ControlPlane(Engine& engine, std::unique_ptr<control::Server> server, std::function<Time()> now);

  Engine& engine_;
  std::unique_ptr<control::Server> server_;
  control::Nftables nftables_;
  control::Ctnetlink ctnetlink_;
  control::CtnetlinkExpect expectations_;
  control::Cthelper cthelper_;
  control::ConnectionEvents events_;
  control::Cttimeout cttimeout_;
  control::ExpectationEvents expectation_events_;
  control::OwnSubsystem own_;
  bool has_more_events_ = false;
};

}  // namespace weir::engine
