#include <linux/filter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>

#include "control/server/session.h"

/// The socket options of a Session: what setsockopt and getsockopt mean on a netlink socket.
namespace weir::control {
namespace {

constexpr std::uint32_t kSmallestReceiveBuffer = 2304;
constexpr std::uint32_t kSmallestSendBuffer = 4608;
constexpr std::uint32_t kGroups = 64;

Error refused(int code, const char* text) { return {.code = code, .text = text}; }

/// SO_RCVBUF and its kind: the kernel doubles what is asked for, within bounds.
std::uint32_t doubled(std::uint32_t wanted, std::uint32_t most, std::uint32_t least) {
  return std::max(std::min(wanted, most) * 2, least);
}

std::uint32_t as_number(Bytes value) {
  return value.size() < sizeof(std::uint32_t) ? 0 : load<std::uint32_t>(value.data());
}

}  // namespace

Result<void> Session::set_option(int level, int option, Bytes value) {
  if (level == SOL_SOCKET) return set_socket_option(option, value);
  if (level == SOL_NETLINK) return set_netlink_option(option, value);
  if (level == WEIR_SOL_EVENTS && option == WEIR_EVENT_FILTER) return event_filters_.set(value);
  return std::unexpected(refused(ENOPROTOOPT, "unknown option level"));
}

Result<void> Session::set_socket_option(int option, Bytes value) {
  if (option == SO_ATTACH_FILTER) return attach_filter(value);
  if (value.size() < sizeof(int)) return std::unexpected(refused(EINVAL, "option value too short"));
  const std::uint32_t number = as_number(value);
  constexpr std::uint32_t most = INT_MAX / 2;
  switch (option) {
    case SO_RCVBUF:
      receive_buffer_ = doubled(number, limits_.receive, kSmallestReceiveBuffer);
      return {};
    case SO_SNDBUF:
      send_buffer_ = doubled(number, limits_.send, kSmallestSendBuffer);
      return {};
    case SO_RCVBUFFORCE:
    case SO_SNDBUFFORCE:
      if (!identity_.rights.may_read) return std::unexpected(refused(EPERM, "not authorised"));
      if (option == SO_RCVBUFFORCE) {
        receive_buffer_ = doubled(number, most, kSmallestReceiveBuffer);
      } else {
        send_buffer_ = doubled(number, most, kSmallestSendBuffer);
      }
      return {};
    case SO_DETACH_FILTER:
      if (is_filter_locked_) return std::unexpected(refused(EPERM, "the filter is locked"));
      if (filter_.is_empty()) return std::unexpected(refused(ENOENT, "there is no filter"));
      filter_ = {};
      return {};
    case SO_LOCK_FILTER:
      if (is_filter_locked_ && !number) {
        return std::unexpected(refused(EPERM, "the filter is locked"));
      }
      is_filter_locked_ = number != 0;
      return {};
    default:
      return std::unexpected(refused(ENOPROTOOPT, "unknown socket option"));
  }
}

/// The value is the program itself: the preload library has followed sock_fprog's pointer.
Result<void> Session::attach_filter(Bytes value) {
  if (is_filter_locked_) return std::unexpected(refused(EPERM, "the filter is locked"));
  if (value.size() % sizeof(sock_filter)) return std::unexpected(refused(EINVAL, "torn filter"));
  std::vector<sock_filter> program(value.size() / sizeof(sock_filter));
  if (!program.empty()) std::memcpy(program.data(), value.data(), value.size());
  auto checked = SocketFilter::check(program);
  if (!checked) return std::unexpected(std::move(checked).error());
  filter_ = std::move(*checked);
  return {};
}

Result<void> Session::set_netlink_option(int option, Bytes value) {
  const std::uint32_t number = as_number(value);
  switch (option) {
    case NETLINK_ADD_MEMBERSHIP:
    case NETLINK_DROP_MEMBERSHIP:
      return set_membership(option, number);
    case NETLINK_PKTINFO:
      wants_pktinfo_ = number;
      return {};
    case NETLINK_BROADCAST_ERROR:
      wants_broadcast_errors_ = number;
      return {};
    case NETLINK_NO_ENOBUFS:
      ignores_overruns_ = number;
      if (ignores_overruns_) is_congested_ = false;
      return {};
    case NETLINK_CAP_ACK:
      caps_acks_ = number;
      return {};
    case NETLINK_EXT_ACK:
      extends_acks_ = number;
      return {};
    case NETLINK_GET_STRICT_CHK:
      is_strict_ = number;
      return {};
    default:
      return std::unexpected(refused(ENOPROTOOPT, "unknown netlink option"));
  }
}

Result<void> Session::set_membership(int option, std::uint32_t group) {
  if (!identity_.rights.may_read) return std::unexpected(refused(EPERM, "not authorised"));
  if (!group || group > kGroups) return std::unexpected(refused(EINVAL, "no such group"));
  const std::uint64_t bit = std::uint64_t{1} << (group - 1);
  groups_ = option == NETLINK_ADD_MEMBERSHIP ? groups_ | bit : groups_ & ~bit;
  return {};
}

std::optional<std::int64_t> Session::socket_number(int option) const {
  switch (option) {
    case SO_RCVBUF:
      return receive_buffer_;
    case SO_SNDBUF:
      return send_buffer_;
    case SO_TYPE:
      return identity_.socket_type;
    case SO_DOMAIN:
      return AF_NETLINK;
    case SO_PROTOCOL:
      return NETLINK_NETFILTER;
    case SO_ERROR:
      return 0;  // An overrun is told by the next recvmsg, in its place.
    case SO_LOCK_FILTER:
      return is_filter_locked_;
    default:
      return {};
  }
}

std::optional<std::int64_t> Session::netlink_number(int option) const {
  switch (option) {
    case NETLINK_PKTINFO:
      return wants_pktinfo_;
    case NETLINK_BROADCAST_ERROR:
      return wants_broadcast_errors_;
    case NETLINK_NO_ENOBUFS:
      return ignores_overruns_;
    case NETLINK_CAP_ACK:
      return caps_acks_;
    case NETLINK_EXT_ACK:
      return extends_acks_;
    case NETLINK_GET_STRICT_CHK:
      return is_strict_;
    default:
      return {};
  }
}

std::vector<std::uint32_t> Session::memory_information() const {
  std::vector<std::uint32_t> information(SK_MEMINFO_VARS);
  information[SK_MEMINFO_RMEM_ALLOC] = static_cast<std::uint32_t>(unread_bytes());
  information[SK_MEMINFO_RCVBUF] = receive_buffer_;
  information[SK_MEMINFO_SNDBUF] = send_buffer_;
  information[SK_MEMINFO_DROPS] = static_cast<std::uint32_t>(lost_);
  return information;
}

Result<void> Session::get_option(int level, int option, std::size_t room,
                                 netlink::Buffer& out) const {
  const auto give = [&](const void* from, std::size_t bytes) {
    const auto* begin = static_cast<const std::uint8_t*>(from);
    out.insert(out.end(), begin, begin + std::min(bytes, room));
  };
  if (level == SOL_SOCKET && option == SO_MEMINFO) {
    const auto information = memory_information();
    give(information.data(), information.size() * sizeof information[0]);
    return {};
  }
  if (level == WEIR_SOL_EVENTS && option == WEIR_EVENT_FILTER) {
    const weir_event_filter filter = event_filters_.get(NFNL_SUBSYS_CTNETLINK);
    give(&filter, sizeof filter);
    return {};
  }
  if (level == SOL_NETLINK && option == NETLINK_LIST_MEMBERSHIPS) {
    give(&groups_, sizeof groups_);
    return {};
  }
  const auto number = level == SOL_SOCKET    ? socket_number(option)
                      : level == SOL_NETLINK ? netlink_number(option)
                                             : std::nullopt;
  if (!number) return std::unexpected(refused(ENOPROTOOPT, "unknown option"));
  const auto value = static_cast<std::int32_t>(*number);
  if (level == SOL_NETLINK && room < sizeof value) {
    return std::unexpected(refused(EINVAL, "no room for the value"));
  }
  give(&value, sizeof value);
  return {};
}

}  // namespace weir::control
