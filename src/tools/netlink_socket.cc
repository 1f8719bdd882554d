#include "tools/netlink_socket.h"

#include <linux/sock_diag.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "netlink/attributes.h"
#include "netlink/writer.h"

namespace weir::tools {
namespace {

constexpr std::size_t kReceiveBytes = 65536;

/// The text of an extended acknowledgement; empty when there is none.
std::string read_reason(const netlink::Message& message) {
  const std::uint16_t flags = message.header().nlmsg_flags;
  const Bytes bytes = message.bytes();
  std::size_t at = netlink::Message::kHeaderBytes + sizeof(std::int32_t);
  if ((flags & NLM_F_ACK_TLVS) == 0 || bytes.size() < at + sizeof(nlmsghdr)) return {};
  const auto request = load<nlmsghdr>(bytes.data() + at);
  at += (flags & NLM_F_CAPPED) != 0 ? sizeof(nlmsghdr) : NLMSG_ALIGN(request.nlmsg_len);
  if (at > bytes.size()) return {};
  for (const netlink::Attribute& attribute : netlink::Region(bytes.subspan(at), 0)) {
    if (attribute.type() == NLMSGERR_ATTR_MSG) return std::string(attribute.string());
  }
  return {};
}

/// What an NLMSG_ERROR says; a code of zero is an acknowledgement.
Error read_error(const netlink::Message& message) {
  const Bytes bytes = message.bytes();
  std::int32_t code = -EIO;
  if (bytes.size() >= netlink::Message::kHeaderBytes + sizeof code)
    code = load<std::int32_t>(bytes.data() + netlink::Message::kHeaderBytes);
  const std::string reason = read_reason(message);
  return {-code, reason.empty() ? std::strerror(-code) : reason};
}

/// A dump may end with an error as its status.
Error read_status(const netlink::Message& message) {
  const Bytes bytes = message.bytes();
  if (bytes.size() < netlink::Message::kHeaderBytes + sizeof(std::int32_t)) return {};
  return read_error(message);
}

}  // namespace

Result<NetlinkSocket> NetlinkSocket::open() {
  NetlinkSocket opened(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (opened.fd_ < 0) return std::unexpected(system_error("netlink socket"));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (bind(opened.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return std::unexpected(system_error("binding the netlink socket"));
  }
  opened.datagram_.resize(kReceiveBytes);
  return opened;
}

NetlinkSocket::NetlinkSocket(NetlinkSocket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      sequence_(other.sequence_),
      datagram_(std::move(other.datagram_)) {}

NetlinkSocket::~NetlinkSocket() {
  if (fd_ >= 0) close(fd_);
}

Result<Bytes> NetlinkSocket::next_datagram() {
  const ssize_t received = recv(fd_, datagram_.data(), datagram_.size(), 0);
  if (received < 0) return std::unexpected(system_error("reading the answer"));
  return Bytes(datagram_).first(static_cast<std::size_t>(received));
}

Result<void> NetlinkSocket::ask(const netlink::Buffer& request, const Each& each) {
  if (send(fd_, request.data(), request.size(), 0) < 0)
    return std::unexpected(system_error("sending the request"));
  while (true) {
    auto rest = next_datagram();
    if (!rest && rest.error().code == EINTR) continue;
    if (!rest) return std::unexpected(rest.error());
    while (const auto message = netlink::Message::take(*rest)) {
      if (message->sequence() != sequence_) continue;  // An answer that nobody waited for.
      const std::uint16_t type = message->header().nlmsg_type;
      if (type != NLMSG_DONE && type != NLMSG_ERROR) {
        if (each) each(*message);
        continue;
      }
      const Error error = type == NLMSG_ERROR ? read_error(*message) : read_status(*message);
      if (error.code != 0) return std::unexpected(error);
      return {};
    }
  }
}

Result<void> NetlinkSocket::dump(std::uint8_t subsystem, std::uint8_t number, const Each& each) {
  netlink::Buffer request;
  netlink::Writer writer(request);
  writer.begin({.type = static_cast<std::uint16_t>(subsystem << 8 | number),
                .flags = NLM_F_REQUEST | NLM_F_DUMP,
                .sequence = sequence()});
  writer.end();
  return ask(request, each);
}

Result<void> NetlinkSocket::join(std::span<const std::uint32_t> groups) {
  for (const std::uint32_t group : groups) {
    if (setsockopt(fd_, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) != 0)
      return std::unexpected(system_error("joining the group of events"));
  }
  return {};
}

void NetlinkSocket::ask_for_reasons() {
  const int on = 1;
  setsockopt(fd_, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  setsockopt(fd_, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
}

std::uint32_t NetlinkSocket::set_receive_buffer(std::uint32_t bytes) {
  if (setsockopt(fd_, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0)
    setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  std::uint32_t is = 0;
  socklen_t length = sizeof is;
  getsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &is, &length);
  return is;
}

Result<void> NetlinkSocket::receive(const Each& each) {
  auto rest = next_datagram();
  if (!rest) return std::unexpected(rest.error());
  while (const auto message = netlink::Message::take(*rest)) each(*message);
  return {};
}

std::optional<std::uint32_t> NetlinkSocket::lost() const {
  std::array<std::uint32_t, SK_MEMINFO_VARS> info{};
  socklen_t length = sizeof info;
  if (getsockopt(fd_, SOL_SOCKET, SO_MEMINFO, info.data(), &length) != 0 || length < sizeof info)
    return {};
  return info[SK_MEMINFO_DROPS];
}

}  // namespace weir::tools
