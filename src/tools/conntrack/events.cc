// -E. A socket whose reader is too slow loses events, and is told so (ENOBUFS). What came and went
// meanwhile can't be known, but what is true now can: the table is read again and compared with
// what the events so far have said. So a copy of the table is kept, as the last message about each
// connection, under its original tuple and zone.
#include <fmt/core.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <unordered_map>
#include <unordered_set>

#include "tools/conntrack/commands.h"
#include "tools/conntrack/sender.h"

namespace weir::tools::conntrack {
namespace {

using netlink::Message;

volatile std::sig_atomic_t g_ended = 0;  // Set by a signal, which can reach nothing else.

void on_signal(int) { g_ended = 1; }

void catch_signals() {
  struct sigaction action{};
  action.sa_handler = on_signal;  // Without SA_RESTART: the read must end.
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

Kind kind_of(const Message& message, std::uint8_t number_of_new) {
  if (message.number() != number_of_new) return Kind::destroyed;
  return message.flags() & NLM_F_CREATE ? Kind::created : Kind::updated;
}

unsigned bit_of(Kind kind) {
  return kind == Kind::created   ? kNewEvents
         : kind == Kind::updated ? kUpdateEvents
                                 : kDestroyEvents;
}

class Events {
 public:
  Events(const Request& request, NetlinkSocket& socket) : request_(request), socket_(socket) {}

  Result<Count> run();

 private:
  using Table = std::unordered_map<std::string, std::string>;  // Key to the message's bytes.

  Result<void> subscribe();
  void show(const Message& message);
  template <typename T>
  void print(const T& item, Kind kind, std::uint32_t sender);
  Result<Table> read_table();
  bool keep(const Message& message, Kind kind);
  void recover();
  void compare(Table now);
  bool keeps_table() const {
    return request_.resynchronises && request_.table == conntrack::Table::conntrack;
  }

  const Request& request_;
  NetlinkSocket& socket_;
  Table table_;
  std::unordered_set<std::string> told_beginnings_, told_ends_;  // By the last compare().
  std::uint32_t lost_ = 0;
  Count count_ = 0;
};

/// What stays the same over a connection's life: the bytes of its original tuple and zone.
std::string key_of(const Message& message) {
  std::string key;
  for (const netlink::Attribute& a : message.attributes()) {
    if (a.type() != CTA_TUPLE_ORIG && a.type() != CTA_ZONE) continue;
    key.append(reinterpret_cast<const char*>(a.payload().data()), a.payload().size());
  }
  return key;
}

std::string bytes_of(const Message& message) {
  return {reinterpret_cast<const char*>(message.bytes().data()), message.bytes().size()};
}

Flow flow_of(const std::string& bytes) {
  Bytes span(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  const auto message = Message::take(span);
  return message ? read_flow(*message) : Flow{};
}

/// Whether an event would have told the difference.
bool differ(const Flow& a, const Flow& b) {
  return a.status != b.status || a.mark != b.mark || a.tcp_state != b.tcp_state ||
         a.sctp_state != b.sctp_state || a.dccp_state != b.dccp_state || a.helper != b.helper ||
         a.labels != b.labels || a.secmark != b.secmark;
}

Result<void> Events::subscribe() {
  if (request_.buffer_bytes) {
    fmt::print(stderr, "weir conntrack: the receive buffer has {} bytes\n",
               socket_.set_receive_buffer(*request_.buffer_bytes));
  }
  const bool of_expectations = request_.table == conntrack::Table::expect;
  std::vector<std::uint32_t> groups;
  // To keep the copy true all events are needed, whatever is shown.
  const unsigned events = keeps_table() ? kAllEvents : request_.events;
  if (events & kNewEvents)
    groups.push_back(of_expectations ? NFNLGRP_CONNTRACK_EXP_NEW : NFNLGRP_CONNTRACK_NEW);
  if (events & kUpdateEvents)
    groups.push_back(of_expectations ? NFNLGRP_CONNTRACK_EXP_UPDATE : NFNLGRP_CONNTRACK_UPDATE);
  if (events & kDestroyEvents)
    groups.push_back(of_expectations ? NFNLGRP_CONNTRACK_EXP_DESTROY : NFNLGRP_CONNTRACK_DESTROY);
  return socket_.join(groups);
}

template <typename T>
void Events::print(const T& item, Kind kind, std::uint32_t sender) {
  const bool of_expectations = request_.table == conntrack::Table::expect;
  if (count_++ == 0) fmt::print("{}", opening(request_.format, of_expectations));
  fmt::print("{}{}\n", format(item, kind, request_.format),
             sender == 0 || of_expectations ? std::string{} : name_of_sender(sender));
  std::fflush(stdout);
}

void Events::show(const Message& message) {
  if (message.subsystem() == NFNL_SUBSYS_CTNETLINK_EXP)
    return print(read_expectation(message), kind_of(message, IPCTNL_MSG_EXP_NEW), 0);
  const Kind kind = kind_of(message, IPCTNL_MSG_CT_NEW);
  if (keeps_table() && !keep(message, kind)) return;
  if (!(request_.events & bit_of(kind))) return;
  const Flow flow = read_flow(message);
  if (matches(request_, flow)) print(flow, kind, message.header().nlmsg_pid);
}

/// False for what has been told already: events that were queued while the table was read again.
bool Events::keep(const Message& message, Kind kind) {
  std::string key = key_of(message);
  bool is_told = false;
  if (kind == Kind::destroyed) {
    is_told = told_ends_.erase(key) != 0;
    told_beginnings_.erase(key);
    table_.erase(key);
  } else {
    if (kind == Kind::created) {
      is_told = told_beginnings_.erase(key) != 0;
      told_ends_.erase(key);
    }
    table_[std::move(key)] = bytes_of(message);
  }
  return !is_told;
}

Result<Events::Table> Events::read_table() {
  auto socket = NetlinkSocket::open();
  if (!socket) return std::unexpected(socket.error());
  Table table;
  auto done = socket->dump(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET, [&](const Message& message) {
    table[key_of(message)] = bytes_of(message);
  });
  if (!done) return std::unexpected(done.error());
  return table;
}

/// Says what was lost, and shows as events what has changed since.
void Events::recover() {
  const auto lost = socket_.lost();
  if (lost) {
    fmt::print(stderr, "weir conntrack: {} messages of events were lost", *lost - lost_);
    lost_ = *lost;
  } else {
    fmt::print(stderr, "weir conntrack: events were lost");
  }
  fmt::print(stderr, "; a larger --buffer-size or a narrower --event-mask helps\n");
  if (!keeps_table()) return;
  auto now = read_table();
  if (!now) {
    fmt::print(stderr, "weir conntrack: the table can't be read again: {}\n", now.error().text);
    return;
  }
  const Count before = count_;
  compare(std::move(*now));
  fmt::print(stderr, "weir conntrack: read the table again: {} changes shown\n", count_ - before);
}

void Events::compare(Table now) {
  const auto tell = [this](const std::string& bytes, Kind kind) {
    const Flow flow = flow_of(bytes);
    if ((request_.events & bit_of(kind)) && matches(request_, flow)) print(flow, kind, 0);
  };
  told_beginnings_.clear();
  told_ends_.clear();
  for (const auto& [key, bytes] : table_) {
    if (now.contains(key)) continue;
    tell(bytes, Kind::destroyed);
    told_ends_.insert(key);
  }
  for (const auto& [key, bytes] : now) {
    const auto known = table_.find(key);
    if (known == table_.end()) {
      tell(bytes, Kind::created);
      told_beginnings_.insert(key);
    } else if (const Flow was = flow_of(known->second), is = flow_of(bytes); was.id != is.id) {
      tell(known->second, Kind::destroyed);
      tell(bytes, Kind::created);
    } else if (differ(was, is)) {
      tell(bytes, Kind::updated);
    }
  }
  table_ = std::move(now);
}

Result<Count> Events::run() {
  catch_signals();
  if (auto subscribed = subscribe(); !subscribed) return std::unexpected(subscribed.error());
  if (keeps_table()) {
    auto table = read_table();
    if (!table) return std::unexpected(table.error());
    table_ = std::move(*table);
  }
  while (g_ended == 0) {
    auto received = socket_.receive([this](const Message& message) { show(message); });
    if (received || received.error().code == EINTR) continue;
    if (received.error().code != ENOBUFS) return std::unexpected(received.error());
    recover();
  }
  if (count_ != 0)
    fmt::print("{}", closing(request_.format, request_.table == conntrack::Table::expect));
  return count_;
}

}  // namespace

Result<Count> show_events(const Request& request, NetlinkSocket& socket) {
  return Events(request, socket).run();
}

}  // namespace weir::tools::conntrack
