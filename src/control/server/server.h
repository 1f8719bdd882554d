#pragma once

#include <sys/epoll.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "control/server/access.h"
#include "control/server/connection.h"
#include "control/server/dispatcher.h"
#include "control/server/listener.h"
#include "control/server/session.h"
#include "control/server/subsystem.h"

/// The nfnetlink server. Unmodified netfilter tools reach it through the preload library: each of
/// their netlink sockets is a Session here, made of two connections to one unix socket
/// (preload/protocol.h).
///
/// One thread, the control thread, owns everything in this folder and calls the subsystems; it
/// waits in epoll and never anywhere else. A call of a tool is executed to its end before it is
/// answered, so a tool's send() returns when the engine has done what it says. Readers are never
/// waited for: see Session.
namespace weir::control {

/// Somebody who has a descriptor to watch on the control thread.
class Watcher {
 public:
  virtual ~Watcher() = default;
  /// The descriptor is readable.
  virtual void on_readable() = 0;
};

/// Somebody who produces messages for groups and wants to know whether anybody reads them.
class GroupsObserver {
 public:
  virtual ~GroupsObserver() = default;
  /// `groups` are those that at least one socket is a member of: group g is bit g - 1. Also called
  /// when the events that members want have changed (Server::wanted_events).
  virtual void on_groups_changed(std::uint64_t groups) = 0;
};

class Server final : public Publisher {
 public:
  struct Options {
    std::string socket_path;
    SocketFile socket_file = {};  ///< Who may connect; `access` says what they may then do.
    AccessPolicy access = {};
  };

  /// Listens. Errors: EADDRINUSE when another engine serves this path.
  static Result<std::unique_ptr<Server>> open(const Options& options);
  /// Takes over a listener whose engine still serves: nobody is let in before accept_clients().
  static Result<std::unique_ptr<Server>> adopt(const Options& options, Listener listener);
  Result<void> accept_clients() { return watch_descriptor(listener_.get(), EPOLLIN); }
  Listener& listener() { return listener_; }
  ~Server() override;

  /// Registers a subsystem, which must outlive the server.
  void add(Subsystem& subsystem) { dispatcher_.add(subsystem); }
  /// Tells `observer` of the groups' union now and whenever it changes.
  void add_groups_observer(GroupsObserver& observer);
  /// Calls `watcher` on the control thread while `descriptor` is readable. Both must outlive the
  /// server.
  Result<void> watch(int descriptor, Watcher& watcher);

  /// From now on; who has opened a session before keeps its rights.
  void set_access(const AccessPolicy& access) { options_.access = access; }

  /// Does what there is to do, after waiting for it at most `wait` (rounded up to milliseconds).
  void serve_once(Duration wait);
  /// Ends the wait of a serve_once() that runs in another thread.
  void wake();

  bool has_listeners(std::uint32_t group) const override;
  int publish(const Notice& notice) override;

  /// The events of a subsystem (bits as in weir_event_filter) that any member of the group wants.
  std::uint64_t wanted_events(std::uint8_t subsystem, std::uint32_t group) const;

  /// Tells every member of `groups` (bits as in GroupsObserver) by ENOBUFS that up to `datagrams`
  /// messages for it were lost before they could be published: the kernel's netlink_set_err.
  void report_loss(std::uint64_t groups, std::uint64_t datagrams);

  std::size_t sessions() const { return sessions_.size(); }
  /// Datagrams that slow readers have lost, those of closed sockets included.
  std::uint64_t lost_datagrams() const;

 private:
  Server(const Options& options, Listener listener);

  Result<void> set_up();
  Result<void> watch_descriptor(int descriptor, std::uint32_t events);
  void on_event(int descriptor, std::uint32_t events);
  void accept_connections();
  bool admits(const Credentials& credentials) const;
  void on_connection(Connection& connection);
  void on_data(Session& session, std::uint32_t events);

  /// Executes a call. False when the connection has to end.
  bool execute(Connection& connection);
  weir_answer hello(Connection& connection, netlink::Buffer& payload);
  bool attach(Connection& connection);
  weir_answer call_session(Session& session, const Connection& connection,
                           netlink::Buffer& payload);
  weir_answer send(Session& session, const Connection& connection);

  Result<void> bind(Session& session, std::uint32_t port_id, std::uint32_t groups);
  Result<void> set_port_id(Session& session, std::uint32_t port_id);
  void autobind(Session& session);

  void end(Connection& connection);
  void end(Session& session);
  void bury();
  void update_listeners();

  Options options_;
  BufferLimits limits_;
  Listener listener_;
  FileDescriptor epoll_;
  FileDescriptor wake_;
  Dispatcher dispatcher_;
  std::vector<GroupsObserver*> observers_;
  std::unordered_map<int, Watcher*> watchers_;

  std::unordered_map<int, std::unique_ptr<Connection>> connections_;  ///< By descriptor.
  std::map<std::uint32_t, std::unique_ptr<Session>> sessions_;        ///< By number.
  std::unordered_map<int, Session*> data_;                            ///< By data descriptor.
  std::unordered_map<std::uint32_t, Session*> ports_;                 ///< By port id.
  /// What has ended while events were handled; gone before the next wait, so that a descriptor's
  /// number isn't reused while an event for it is pending.
  std::vector<std::unique_ptr<Connection>> dead_connections_;
  std::vector<std::unique_ptr<Session>> dead_sessions_;

  std::uint64_t groups_ = 0;
  std::uint32_t next_session_ = 1;
  std::int32_t next_port_;
  std::uint64_t lost_before_ = 0;  ///< Of sessions that have ended.
};

}  // namespace weir::control
