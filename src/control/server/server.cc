#include "control/server/server.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

namespace weir::control {
namespace {

constexpr int kEventsAtOnce = 64;
/// Calls of one connection in one turn.
constexpr int kCallsAtOnce = 64;
constexpr std::size_t kConnections = 4096;
/// Of one user who may not change anything: a local user must not use up the others' share.
constexpr std::ptrdiff_t kConnectionsOfUser = 256;
/// Where the kernel begins to look when the process id is taken as a port id already.
constexpr std::int32_t kFirstSparePort = -4097;

std::uint32_t read_limit(const char* path, std::uint32_t otherwise) {
  std::FILE* file = std::fopen(path, "re");
  if (!file) return otherwise;
  unsigned long value = 0;
  const bool is_read = std::fscanf(file, "%lu", &value) == 1;
  std::fclose(file);
  return is_read ? static_cast<std::uint32_t>(value) : otherwise;
}

weir_answer failure(int error) {
  return {.result = -1, .error = error, .length = 0, .port_id = 0, .groups = 0, .frames_due = 0};
}

weir_answer success(std::int32_t result = 0) {
  return {.result = result, .error = 0, .length = 0, .port_id = 0, .groups = 0, .frames_due = 0};
}

weir_answer answer_to(const Result<void>& result) {
  return result ? success() : failure(result.error().code);
}

}  // namespace

Server::Server(const Options& options, Listener listener)
    : options_(options), listener_(std::move(listener)), next_port_(kFirstSparePort) {
  limits_.receive = read_limit("/proc/sys/net/core/rmem_max", limits_.receive);
  limits_.send = read_limit("/proc/sys/net/core/wmem_max", limits_.send);
}

Server::~Server() = default;

Result<std::unique_ptr<Server>> Server::open(const Options& options) {
  auto listener = Listener::open(options.socket_path, options.socket_file);
  if (!listener) return std::unexpected(std::move(listener).error());
  auto server = adopt(options, std::move(*listener));
  if (!server) return server;
  if (auto watched = (*server)->accept_clients(); !watched)
    return std::unexpected(std::move(watched).error());
  return server;
}

Result<std::unique_ptr<Server>> Server::adopt(const Options& options, Listener listener) {
  std::unique_ptr<Server> server(new Server(options, std::move(listener)));
  if (auto ready = server->set_up(); !ready) return std::unexpected(std::move(ready).error());
  return server;
}

Result<void> Server::set_up() {
  epoll_ = FileDescriptor(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.is_open()) return std::unexpected(system_error("cannot make an epoll descriptor"));
  wake_ = FileDescriptor(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake_.is_open()) return std::unexpected(system_error("cannot make an eventfd"));
  return watch_descriptor(wake_.get(), EPOLLIN);
}

Result<void> Server::watch_descriptor(int descriptor, std::uint32_t events) {
  epoll_event event{};
  event.events = events;
  event.data.fd = descriptor;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, descriptor, &event) < 0) {
    return std::unexpected(system_error("cannot watch a descriptor"));
  }
  return {};
}

Result<void> Server::watch(int descriptor, Watcher& watcher) {
  watchers_[descriptor] = &watcher;
  return watch_descriptor(descriptor, EPOLLIN);
}

void Server::add_groups_observer(GroupsObserver& observer) {
  observers_.push_back(&observer);
  observer.on_groups_changed(groups_);
}

void Server::serve_once(Duration wait) {
  std::array<epoll_event, kEventsAtOnce> events;
  const auto milliseconds = std::chrono::ceil<std::chrono::milliseconds>(wait).count();
  const int count = epoll_wait(epoll_.get(), events.data(), kEventsAtOnce,
                               static_cast<int>(std::max<std::int64_t>(milliseconds, 0)));
  for (int i = 0; i < count; ++i) {
    on_event(events[static_cast<std::size_t>(i)].data.fd,
             events[static_cast<std::size_t>(i)].events);
  }
  bury();
}

void Server::wake() {
  const std::uint64_t one = 1;
  // Fails only when the counter is full, and then the server is awake.
  if (write(wake_.get(), &one, sizeof one) < 0) return;
}

void Server::on_event(int descriptor, std::uint32_t events) {
  if (descriptor == listener_.get()) return accept_connections();
  if (descriptor == wake_.get()) {
    std::uint64_t count = 0;
    if (read(descriptor, &count, sizeof count) < 0) return;
    return;
  }
  if (const auto found = connections_.find(descriptor); found != connections_.end()) {
    return on_connection(*found->second);
  }
  if (const auto found = data_.find(descriptor); found != data_.end()) {
    return on_data(*found->second, events);
  }
  if (const auto found = watchers_.find(descriptor); found != watchers_.end()) {
    found->second->on_readable();
  }
}

bool Server::admits(const Credentials& credentials) const {
  if (connections_.size() >= kConnections) return false;
  if (rights_of(credentials, options_.access).may_change) return true;
  const uid_t uid = credentials.peer.uid;
  const auto mine = std::count_if(
      connections_.begin(), connections_.end(),
      [uid](const auto& connection) { return connection.second->credentials().peer.uid == uid; });
  return mine < kConnectionsOfUser;
}

void Server::accept_connections() {
  for (int i = 0; i < kEventsAtOnce; ++i) {
    FileDescriptor socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (!socket.is_open()) return;
    auto credentials = peer_credentials(socket.get());
    if (!credentials || !admits(*credentials)) continue;
    const int number = socket.get();
    if (!watch_descriptor(number, EPOLLIN | EPOLLRDHUP)) continue;
    connections_[number] = std::make_unique<Connection>(std::move(socket), std::move(*credentials));
  }
}

void Server::on_connection(Connection& connection) {
  for (int i = 0; i < kCallsAtOnce; ++i) {
    const Connection::Input input = connection.read();
    if (input == Connection::Input::nothing) return;
    if (input == Connection::Input::closed) return end(connection);
    if (connection.call().operation == WEIR_ATTACH) {
      if (!attach(connection)) end(connection);
      return;
    }
    if (!execute(connection)) return end(connection);
  }
}

void Server::on_data(Session& session, std::uint32_t events) {
  if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) return end(session);
  session.pump();
  if (session.is_broken()) end(session);
}

bool Server::execute(Connection& connection) {
  netlink::Buffer payload;
  weir_answer answer{};
  if (connection.call().operation == WEIR_HELLO) {
    answer = hello(connection, payload);
  } else if (connection.session()) {
    answer = call_session(*connection.session(), connection, payload);
    answer.frames_due = connection.session()->frames_due();
    answer.port_id = connection.session()->port_id();
  } else {
    return false;
  }
  return connection.answer(answer, payload);
}

weir_answer Server::hello(Connection& connection, netlink::Buffer& payload) {
  const weir_call& call = connection.call();
  if (connection.session() || call.a != WEIR_PROTOCOL_MAGIC || call.b != WEIR_PROTOCOL_VERSION) {
    return failure(EPROTO);
  }
  Session::Identity identity{.number = next_session_++,
                             .secret = 0,
                             .peer = connection.credentials().peer,
                             .rights = rights_of(connection.credentials(), options_.access),
                             .process_id = call.port_id,
                             .socket_type = static_cast<int>(call.groups)};
  if (next_session_ > INT32_MAX) next_session_ = 1;
  if (sessions_.contains(identity.number) ||
      getrandom(&identity.secret, sizeof identity.secret, 0) != sizeof identity.secret) {
    return failure(ENOMEM);
  }
  auto session = std::make_unique<Session>(identity, limits_);
  connection.set_session(session.get());
  sessions_[identity.number] = std::move(session);
  const Bytes secret = as_bytes(identity.secret);
  payload.assign(secret.begin(), secret.end());
  return success(static_cast<std::int32_t>(identity.number));
}

/// Turns the connection into a session's data connection; false when it isn't entitled to that.
bool Server::attach(Connection& connection) {
  const auto found = sessions_.find(connection.call().a);
  std::uint64_t secret = 0;
  if (connection.payload().size() == sizeof secret) {
    secret = load<std::uint64_t>(connection.payload().data());
  }
  if (connection.session() || found == sessions_.end() || found->second->is_attached() ||
      found->second->identity().secret != secret) {
    return false;
  }
  if (!connection.answer(success(), {})) return false;
  Session& session = *found->second;
  const int descriptor = connection.socket();
  FileDescriptor socket = connection.take_socket();
  const auto entry = connections_.find(descriptor);
  dead_connections_.push_back(std::move(entry->second));
  connections_.erase(entry);
  data_[descriptor] = &session;
  epoll_event event{};
  event.events = EPOLLRDHUP;
  event.data.fd = descriptor;
  epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, descriptor, &event);
  session.attach(std::move(socket), epoll_.get());
  return true;
}

weir_answer Server::call_session(Session& session, const Connection& connection,
                                 netlink::Buffer& payload) {
  const weir_call& call = connection.call();
  if (connection.is_oversized()) return failure(EMSGSIZE);
  switch (call.operation) {
    case WEIR_BIND:
      return answer_to(bind(session, call.port_id, call.groups));
    case WEIR_CONNECT:
      if (!session.identity().rights.may_read && (call.port_id || call.groups)) {
        return failure(EPERM);
      }
      autobind(session);
      return success();
    case WEIR_GETSOCKNAME: {
      weir_answer answer = success();
      answer.port_id = session.port_id();
      answer.groups = static_cast<std::uint32_t>(session.groups());
      return answer;
    }
    case WEIR_SETSOCKOPT: {
      const Result<void> result = session.set_option(
          static_cast<int>(call.a), static_cast<int>(call.b), connection.payload());
      update_listeners();
      return answer_to(result);
    }
    case WEIR_GETSOCKOPT:
      return answer_to(session.get_option(static_cast<int>(call.a), static_cast<int>(call.b),
                                          call.groups, payload));
    case WEIR_SEND:
      return send(session, connection);
    default:
      return failure(EOPNOTSUPP);
  }
}

weir_answer Server::send(Session& session, const Connection& connection) {
  const weir_call& call = connection.call();
  // Only the engine is reached: tools don't talk to one another through it.
  if (call.groups && !session.identity().rights.may_read) return failure(EPERM);
  if (call.port_id || call.groups) return failure(ECONNREFUSED);
  autobind(session);
  const std::uint32_t filters = session.event_filters().version();
  dispatcher_.execute(session, connection.payload());
  if (session.event_filters().version() != filters) update_listeners();
  return success(static_cast<std::int32_t>(connection.payload().size()));
}

}  // namespace weir::control
