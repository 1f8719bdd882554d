#include "routing/rtnetlink_socket.h"

#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace weir::routing {

namespace {
constexpr std::size_t kBufferBytes = 64 * 1024;
}

RtnetlinkSocket::RtnetlinkSocket(mnl_socket* socket)
    : socket_(socket), buffer_(new std::uint8_t[kBufferBytes]) {}

RtnetlinkSocket::RtnetlinkSocket(RtnetlinkSocket&& other) noexcept
    : socket_(std::exchange(other.socket_, nullptr)),
      buffer_(std::move(other.buffer_)),
      sequence_(other.sequence_) {}

RtnetlinkSocket::~RtnetlinkSocket() {
  if (socket_ != nullptr) mnl_socket_close(socket_);
}

Result<RtnetlinkSocket> RtnetlinkSocket::open() {
  mnl_socket* const socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
  if (socket == nullptr) return std::unexpected(system_error("opening a rtnetlink socket"));
  RtnetlinkSocket opened(socket);
  if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0)
    return std::unexpected(system_error("binding a rtnetlink socket"));
  return opened;
}

int RtnetlinkSocket::fd() const { return mnl_socket_get_fd(socket_); }

bool RtnetlinkSocket::join(unsigned group) {
  int number = static_cast<int>(group);
  return mnl_socket_setsockopt(socket_, NETLINK_ADD_MEMBERSHIP, &number, sizeof number) == 0;
}

void RtnetlinkSocket::set_receive_buffer(int bytes) {
  if (setsockopt(fd(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0)
    setsockopt(fd(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
}

Result<void> RtnetlinkSocket::send(const nlmsghdr& message) {
  if (mnl_socket_sendto(socket_, &message, message.nlmsg_len) < 0)
    return std::unexpected(system_error("sending to rtnetlink"));
  return {};
}

Result<RtnetlinkSocket::DumpEnd> RtnetlinkSocket::dump(std::uint16_t type, std::uint8_t family,
                                                       void (*handle)(void*, const nlmsghdr&),
                                                       void* context) {
  struct {
    nlmsghdr header;
    rtgenmsg body;
    std::uint8_t padding[32];  // Kernels that look at the whole header of the type find zeroes.
  } request{};
  request.header.nlmsg_len = NLMSG_LENGTH(sizeof(rtgenmsg));
  request.header.nlmsg_type = type;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.header.nlmsg_seq = ++sequence_;
  request.body.rtgen_family = family;
  if (const auto sent = send(request.header); !sent) return std::unexpected(sent.error());

  DumpEnd end = DumpEnd::complete;
  for (;;) {
    const ssize_t got = mnl_socket_recvfrom(socket_, buffer_.get(), kBufferBytes);
    if (got < 0) {
      if (errno == EINTR) continue;
      return std::unexpected(system_error("reading a dump from rtnetlink"));
    }
    int left = static_cast<int>(got);
    const auto* message = reinterpret_cast<const nlmsghdr*>(buffer_.get());
    for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
      if (message->nlmsg_seq != sequence_) continue;  // Of a dump that was given up.
      if ((message->nlmsg_flags & NLM_F_DUMP_INTR) != 0) end = DumpEnd::interrupted;
      if (message->nlmsg_type == NLMSG_DONE) return end;
      if (message->nlmsg_type == NLMSG_ERROR) {
        const int code = -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message))->error;
        return std::unexpected(Error{code, "the kernel refused a rtnetlink dump"});
      }
      handle(context, *message);
    }
  }
}

Result<bool> RtnetlinkSocket::receive(void (*handle)(void*, const nlmsghdr&), void* context) {
  const ssize_t got = recv(fd(), buffer_.get(), kBufferBytes, MSG_DONTWAIT);
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR) return false;
    return std::unexpected(system_error("reading rtnetlink notifications"));
  }
  int left = static_cast<int>(got);
  const auto* message = reinterpret_cast<const nlmsghdr*>(buffer_.get());
  for (; mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left))
    handle(context, *message);
  return true;
}

}  // namespace weir::routing
