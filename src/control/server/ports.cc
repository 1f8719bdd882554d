#include <algorithm>
#include <cerrno>

#include "control/server/server.h"

/// Port ids, groups and what is published to them; and how connections and sessions end.
namespace weir::control {

Result<void> Server::set_port_id(Session& session, std::uint32_t port_id) {
  if (!ports_.emplace(port_id, &session).second) {
    return std::unexpected(Error{EADDRINUSE, "another socket has this port id"});
  }
  session.set_port_id(port_id);
  return {};
}

/// The process id, else a spare negative number: the kernel's netlink_autobind.
void Server::autobind(Session& session) {
  if (session.port_id()) return;
  std::uint32_t port_id = session.identity().process_id;
  while (!port_id || !set_port_id(session, port_id)) {
    port_id = static_cast<std::uint32_t>(next_port_--);
  }
}

/// The kernel's netlink_bind.
Result<void> Server::bind(Session& session, std::uint32_t port_id, std::uint32_t groups) {
  if (groups && !session.identity().rights.may_read) {
    return std::unexpected(Error{EPERM, "not authorised"});
  }
  if (session.port_id()) {
    if (port_id != session.port_id()) {
      return std::unexpected(Error{EINVAL, "the socket has another port id"});
    }
  } else if (port_id) {
    if (auto result = set_port_id(session, port_id); !result) return result;
  } else {
    autobind(session);
  }
  constexpr std::uint64_t beyond_bind = ~std::uint64_t{0xffffffff};
  session.set_groups((session.groups() & beyond_bind) | groups);
  update_listeners();
  return {};
}

/// After any socket's groups or filters may have changed: one more member of a group that has some
/// already may want more events than they do.
void Server::update_listeners() {
  groups_ = 0;
  for (const auto& [number, session] : sessions_) groups_ |= session->groups();
  for (GroupsObserver* observer : observers_) observer->on_groups_changed(groups_);
}

std::uint64_t Server::wanted_events(std::uint8_t subsystem, std::uint32_t group) const {
  std::uint64_t wanted = 0;
  for (const auto& [number, session] : sessions_) {
    if (session->is_member(group)) wanted |= session->event_filters().events(subsystem);
  }
  return wanted;
}

bool Server::has_listeners(std::uint32_t group) const {
  return group && groups_ >> (group - 1) & 1;
}

/// What the filters of events ask about, where the notice doesn't say more: its message's number.
EventSubject subject_of(const Notice& notice) {
  if (notice.subject) return *notice.subject;
  Bytes rest = notice.datagram;
  const auto message = netlink::Message::take(rest);
  if (!message) return {};
  return {.subsystem = message->subsystem(),
          .events = std::uint64_t{1} << (message->number() % 64)};
}

int Server::publish(const Notice& notice) {
  bool is_failure = false;
  const EventSubject subject = subject_of(notice);
  if (has_listeners(notice.group)) {
    for (const auto& [number, session] : sessions_) {
      const bool is_echoed = notice.echo && session->port_id() == notice.port_id;
      if (is_echoed || !session->is_member(notice.group)) continue;
      if (notice.only_reliable && !session->wants_broadcast_errors()) continue;
      if (!session->event_filters().admit(subject)) continue;
      const bool is_lost =
          session->deliver(notice.datagram, notice.group) == Session::Delivery::lost;
      is_failure |= is_lost && session->wants_broadcast_errors();
    }
  }
  if (notice.echo) {
    const auto requester = ports_.find(notice.port_id);
    if (requester != ports_.end()) requester->second->deliver(notice.datagram, 0);
  }
  return is_failure ? ENOBUFS : 0;
}

void Server::report_loss(std::uint64_t groups, std::uint64_t datagrams) {
  for (const auto& [number, session] : sessions_) {
    if (session->groups() & groups) session->report_loss(datagrams);
  }
}

std::uint64_t Server::lost_datagrams() const {
  std::uint64_t lost = lost_before_;
  for (const auto& [number, session] : sessions_) lost += session->lost();
  return lost;
}

void Server::end(Connection& connection) {
  Session* session = connection.session();
  const auto entry = connections_.find(connection.socket());
  dead_connections_.push_back(std::move(entry->second));
  connections_.erase(entry);
  if (session) end(*session);
}

void Server::end(Session& session) {
  for (const auto& [descriptor, connection] : connections_) {
    if (connection->session() != &session) continue;
    connection->set_session(nullptr);
    end(*connection);
    break;
  }
  lost_before_ += session.lost();
  if (session.is_attached()) data_.erase(session.data());
  if (session.port_id()) ports_.erase(session.port_id());
  const auto entry = sessions_.find(session.identity().number);
  dead_sessions_.push_back(std::move(entry->second));
  sessions_.erase(entry);
  update_listeners();
}

void Server::bury() {
  dead_connections_.clear();
  dead_sessions_.clear();
}

}  // namespace weir::control
