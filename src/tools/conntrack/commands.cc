#include "tools/conntrack/commands.h"

#include <fmt/core.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace weir::tools::conntrack {
namespace {

using netlink::Buffer;
using netlink::Message;
using netlink::Writer;

constexpr std::uint8_t kEntries = NFNL_SUBSYS_CTNETLINK;
constexpr std::uint8_t kExpectations = NFNL_SUBSYS_CTNETLINK_EXP;
constexpr std::uint16_t kStatusMask = 26;  // CTA_STATUS_MASK, missing from Debian 12's headers.

/// A request whose attributes `fill` writes.
template <typename Fill>
Buffer make_request(NetlinkSocket& socket, std::uint8_t subsystem, std::uint8_t number,
                    std::uint16_t flags, std::uint8_t family, Fill&& fill) {
  Buffer buffer;
  Writer writer(buffer);
  writer.begin({.type = static_cast<std::uint16_t>(subsystem << 8 | number),
                .flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags),
                .sequence = socket.sequence(),
                .family = family});
  fill(writer);
  writer.end();
  return buffer;
}

void no_attributes(Writer&) {}

/// Prints what comes, with what the form wants around it.
class Printer {
 public:
  Printer(const Request& request, bool of_expectations)
      : request_(request), of_expectations_(of_expectations) {}
  ~Printer() {
    if (count_ != 0) fmt::print("{}", closing(request_.format, of_expectations_));
  }

  template <typename T>
  void print(const T& item, Kind kind = Kind::entry) {
    if (count_++ == 0) fmt::print("{}", opening(request_.format, of_expectations_));
    fmt::print("{}\n", format(item, kind, request_.format));
  }
  Count count() const { return count_; }

 private:
  const Request& request_;
  bool of_expectations_;
  Count count_ = 0;
};

Result<Count> list(const Request& request, NetlinkSocket& socket) {
  if (request.group_by != GroupBy::none) return show_groups(request, socket);
  Printer printer(request, false);
  auto done = dump_table(request, socket, [&](const Message& message) {
    const Flow flow = read_flow(message);
    if (matches(request, flow)) printer.print(flow);
  });
  if (!done) return std::unexpected(done.error());
  return printer.count();
}

Result<Count> get(const Request& request, NetlinkSocket& socket) {
  Printer printer(request, false);
  const Buffer ask = make_request(socket, kEntries, IPCTNL_MSG_CT_GET, NLM_F_ACK, request.family,
                                  [&](Writer& writer) { write_flow(writer, request.flow); });
  auto done = socket.ask(ask, [&](const Message& m) { printer.print(read_flow(m)); });
  if (!done) return std::unexpected(done.error());
  return printer.count();
}

Result<Count> insert(const Request& request, NetlinkSocket& socket) {
  const Buffer ask =
      make_request(socket, kEntries, IPCTNL_MSG_CT_NEW, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK,
                   request.family, [&](Writer& writer) { write_flow(writer, request.flow); });
  auto done = socket.ask(ask);
  if (!done && !(request.command == Command::add && done.error().code == EEXIST))
    return std::unexpected(done.error());
  return Count{done.has_value()};
}

/// The matching entries first, then one request each: the table must not change under its dump.
Result<std::vector<Flow>> find(const Request& request, NetlinkSocket& socket) {
  std::vector<Flow> found;
  auto done = dump_table(request, socket, [&](const Message& message) {
    Flow flow = read_flow(message);
    if (matches(request, flow)) found.push_back(std::move(flow));
  });
  if (!done) return std::unexpected(done.error());
  return found;
}

Result<Count> remove(const Request& request, NetlinkSocket& socket) {
  const auto found = find(request, socket);
  if (!found) return std::unexpected(found.error());
  Printer printer(request, false);
  for (const Flow& flow : *found) {
    const Buffer ask =
        make_request(socket, kEntries, IPCTNL_MSG_CT_DELETE, NLM_F_ACK,
                     flow.original.family.value_or(0), [&](Writer& w) { write_key(w, flow); });
    auto done = socket.ask(ask);
    if (!done && done.error().code == ENOENT) continue;  // It has just ended by itself.
    if (!done) return std::unexpected(done.error());
    printer.print(flow, request.format.form == Form::save ? Kind::destroyed : Kind::entry);
  }
  return printer.count();
}

/// What the entry is to become: nothing when the request changes nothing of it.
std::optional<Flow> changed(const Request& request, const Flow& flow) {
  const Flow& wanted = request.flow;
  Flow update;
  update.original = flow.original;
  update.zone = flow.zone;
  bool differs = false;
  const auto take = [&](auto& into, const auto& value, const auto& is) {
    if (!value) return;
    into = value;
    differs |= value != is;
  };
  take(update.timeout, wanted.timeout, flow.timeout);
  take(update.tcp_state, wanted.tcp_state, flow.tcp_state);
  take(update.sctp_state, wanted.sctp_state, flow.sctp_state);
  take(update.dccp_state, wanted.dccp_state, flow.dccp_state);
  if (request.mark) {
    const std::uint32_t before = flow.mark.value_or(0);
    take(update.mark, std::optional((before & ~request.mark->mask) ^ request.mark->value),
         flow.mark);
  }
  // Status bits can only be set.
  if (wanted.status)
    take(update.status, std::optional(*wanted.status | flow.status.value_or(0)), flow.status);
  update.tcp_flags = wanted.tcp_flags;
  if (request.add_labels) {
    update.labels = update.labels_mask = *request.add_labels;
    const std::size_t size = std::max(update.labels->size(), flow.labels.value_or(Labels{}).size());
    update.labels->resize(size);
    update.labels_mask->resize(size);
    differs = true;
  } else if (flow.labels && (request.remove_labels || request.removes_all_labels)) {
    update.labels = Labels(flow.labels->size());
    update.labels_mask = request.removes_all_labels
                             ? std::optional(Labels(flow.labels->size(), 0xff))
                             : request.remove_labels;
    update.labels_mask->resize(flow.labels->size());
    differs = true;
  }
  return differs ? std::optional(update) : std::nullopt;
}

Result<Count> update(const Request& request, NetlinkSocket& socket) {
  const auto found = find(request, socket);
  if (!found) return std::unexpected(found.error());
  Printer printer(request, false);
  for (const Flow& flow : *found) {
    const auto update = changed(request, flow);
    if (!update) continue;
    const std::uint8_t family = flow.original.family.value_or(0);
    const Buffer change = make_request(socket, kEntries, IPCTNL_MSG_CT_NEW, NLM_F_ACK, family,
                                       [&](Writer& w) { write_flow(w, *update); });
    if (auto done = socket.ask(change); !done) {
      if (done.error().code == ENOENT) continue;
      return std::unexpected(done.error());
    }
    const Buffer look = make_request(socket, kEntries, IPCTNL_MSG_CT_GET, NLM_F_ACK, family,
                                     [&](Writer& w) { write_key(w, flow); });
    auto done = socket.ask(look, [&](const Message& m) { printer.print(read_flow(m)); });
    if (!done && done.error().code != ENOENT) return std::unexpected(done.error());
  }
  return printer.count();
}

Result<Count> flush(const Request& request, NetlinkSocket& socket, std::uint8_t subsystem,
                    std::uint8_t number) {
  auto done =
      socket.ask(make_request(socket, subsystem, number, NLM_F_ACK, request.family, no_attributes));
  if (!done) return std::unexpected(done.error());
  return Count{0};
}

Result<Count> count(NetlinkSocket& socket) {
  std::uint32_t entries = 0;
  auto done = socket.ask(
      make_request(socket, kEntries, IPCTNL_MSG_CT_GET_STATS, NLM_F_ACK, AF_UNSPEC, no_attributes),
      [&](const Message& message) {
        for (const netlink::Attribute& a : message.attributes()) {
          if (a.type() == CTA_STATS_GLOBAL_ENTRIES) entries = a.be32().host();
        }
      });
  if (!done) return std::unexpected(done.error());
  fmt::print("{}\n", entries);
  return Count{0};
}

constexpr std::string_view kStatNames[] = {
    "",       "searched",       "found",         "new",           "invalid", "ignore",
    "delete", "delete_list",    "insert",        "insert_failed", "drop",    "early_drop",
    "error",  "search_restart", "clash_resolve", "chaintoolong"};
constexpr std::string_view kExpectStatNames[] = {"", "expect_new", "expect_create",
                                                 "expect_delete"};

Result<Count> statistics(NetlinkSocket& socket, std::uint8_t subsystem, std::uint8_t number,
                         std::span<const std::string_view> names) {
  auto done = socket.dump(subsystem, number, [names](const Message& message) {
    fmt::print("cpu={:<4}\t", message.resource_id());
    for (const netlink::Attribute& a : message.attributes()) {
      if (a.type() >= names.size()) {
        fmt::print("unknown{}={} ", a.type() - names.size() + 1, a.be32().host());
      } else {
        fmt::print("{}={} ", names[a.type()], a.be32().host());
      }
    }
    fmt::print("\n");
  });
  if (!done) return std::unexpected(done.error());
  return Count{0};
}

// Expectations.

Result<Count> list_expectations(const Request& request, NetlinkSocket& socket, bool only_counts) {
  Printer printer(request, true);
  Count counted = 0;
  const Buffer ask = make_request(socket, kExpectations, IPCTNL_MSG_EXP_GET, NLM_F_DUMP,
                                  request.family, no_attributes);
  auto done = socket.ask(ask, [&](const Message& message) {
    ++counted;
    if (!only_counts) printer.print(read_expectation(message));
  });
  if (!done) return std::unexpected(done.error());
  if (only_counts) fmt::print("{}\n", counted);
  return counted;
}

Result<Count> change_expectation(const Request& request, NetlinkSocket& socket, std::uint8_t number,
                                 std::uint16_t flags, const Expectation& expectation) {
  Printer printer(request, true);
  const Buffer ask =
      make_request(socket, kExpectations, number, static_cast<std::uint16_t>(flags | NLM_F_ACK),
                   request.family, [&](Writer& w) { write_expectation(w, expectation); });
  auto done = socket.ask(ask, [&](const Message& m) { printer.print(read_expectation(m)); });
  if (!done) return std::unexpected(done.error());
  return Count{1};
}

Result<Count> run_on_expectations(const Request& request, NetlinkSocket& socket) {
  Expectation named;
  switch (request.command) {
    case Command::list:
      return list_expectations(request, socket, false);
    case Command::count:
      return list_expectations(request, socket, true);
    case Command::insert:
      return change_expectation(request, socket, IPCTNL_MSG_EXP_NEW, NLM_F_CREATE | NLM_F_EXCL,
                                request.expectation);
    case Command::get:
      named.master = request.expectation.master;
      return change_expectation(request, socket, IPCTNL_MSG_EXP_GET, 0, named);
    case Command::remove:
      named.expected = request.expectation.master;
      return change_expectation(request, socket, IPCTNL_MSG_EXP_DELETE, 0, named);
    case Command::flush:
      return flush(request, socket, kExpectations, IPCTNL_MSG_EXP_DELETE);
    case Command::stats:
      return statistics(socket, kExpectations, IPCTNL_MSG_EXP_GET_STATS_CPU, kExpectStatNames);
    default:
      return std::unexpected(Error{EINVAL, "this command is not for expectations"});
  }
}

}  // namespace

/// The kernel filters by family, mark and status; the rest of a request is matched here.
Result<void> dump_table(const Request& request, NetlinkSocket& socket,
                        const NetlinkSocket::Each& each) {
  std::uint8_t number = request.zeroes ? IPCTNL_MSG_CT_GET_CTRZERO : IPCTNL_MSG_CT_GET;
  if (request.table == Table::dying) number = IPCTNL_MSG_CT_GET_DYING;
  if (request.table == Table::unconfirmed) number = IPCTNL_MSG_CT_GET_UNCONFIRMED;
  const bool can_filter = request.table == Table::conntrack && request.command != Command::update;
  return socket.ask(make_request(socket, kEntries, number, NLM_F_DUMP, request.family,
                                 [&](Writer& writer) {
                                   if (!can_filter) return;
                                   if (request.mark) {
                                     writer.put_be32(CTA_MARK, request.mark->value);
                                     writer.put_be32(CTA_MARK_MASK, request.mark->mask);
                                   }
                                   const std::uint32_t set = request.flow.status.value_or(0);
                                   const std::uint32_t mask = set | request.clear_status;
                                   if (mask == 0) return;
                                   writer.put_be32(CTA_STATUS, set);
                                   writer.put_be32(kStatusMask, mask);
                                 }),
                    each);
}

Result<Count> run(const Request& request, NetlinkSocket& socket) {
  if (request.table == Table::expect) return run_on_expectations(request, socket);
  switch (request.command) {
    case Command::list:
      return list(request, socket);
    case Command::get:
      return get(request, socket);
    case Command::insert:
    case Command::add:
      return insert(request, socket);
    case Command::remove:
      return remove(request, socket);
    case Command::update:
      return update(request, socket);
    case Command::flush:
      return flush(request, socket, kEntries, IPCTNL_MSG_CT_DELETE);
    case Command::count:
      return count(socket);
    case Command::stats:
      return statistics(socket, kEntries, IPCTNL_MSG_CT_GET_STATS_CPU, kStatNames);
    default:
      return std::unexpected(Error{EINVAL, "this command can't be run from a file"});
  }
}

std::string explain(const Error& error, const Request& request) {
  const bool of_expectations = request.table == Table::expect;
  const bool makes = request.command == Command::insert || request.command == Command::add;
  switch (error.code) {
    case EPERM:
      return "not permitted: you must be root, or have been given the right by the engine's "
             "configuration";
    case EEXIST:
      return of_expectations ? "such an expectation exists"
                             : "such a connection exists; -U updates it, -A lets it be";
    case ENOENT:
      if (of_expectations) return makes ? "its master connection doesn't exist" : "there is none";
      return "there is no such connection";
    case ETIME:
      return "the connection has expired";
    case EINVAL:
      return "refused as invalid: a value is missing, or two don't belong together";
    case ECONNREFUSED:
      return "the engine doesn't run, or its socket is another one (--socket)";
    default:
      return error.text;
  }
}

}  // namespace weir::tools::conntrack
