#include "routing/rtnetlink_socket.h"

#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/nexthop.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace weir::routing {

namespace {
constexpr std::size_t kBufferBytes = 64 * 1024;

/// The header that a request for a dump begins with; its first byte is the family.
std::uint32_t dump_header_bytes(std::uint16_t type) {
  switch (type) {
    case RTM_GETLINK:
      return sizeof(ifinfomsg);
    case RTM_GETADDR:
      return sizeof(ifaddrmsg);
    case RTM_GETROUTE:
      return sizeof(rtmsg);
    case RTM_GETRULE:
      return sizeof(fib_rule_hdr);
    case RTM_GETNEIGH:
      return sizeof(ndmsg);
    case RTM_GETNEXTHOP:
      return sizeof(nhmsg);
    default:
      return sizeof(rtgenmsg);
  }
}

/// What a dump ended with: zero, or an errno. A dump that is refused at its start ends at once.
int dump_result(const nlmsghdr& done) {
  if (mnl_nlmsg_get_payload_len(&done) < sizeof(int)) return 0;
  return -*static_cast<const int*>(mnl_nlmsg_get_payload(&done));
}
}  // namespace

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

void RtnetlinkSocket::ask_neighbour(const NeighbourKey& key) {
  char buffer[128] = {};
  nlmsghdr* const message = mnl_nlmsg_put_header(buffer);
  message->nlmsg_type = RTM_NEWNEIGH;
  message->nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE;
  auto* const body = static_cast<ndmsg*>(mnl_nlmsg_put_extra_header(message, sizeof(ndmsg)));
  body->ndm_family = static_cast<std::uint8_t>(key.family);
  body->ndm_ifindex = static_cast<int>(key.ifindex);
  body->ndm_flags = NTF_USE;
  mnl_attr_put(message, NDA_DST, wire::address_bytes(key.family), key.address.bytes.data());
  [[maybe_unused]] const auto sent = send(*message);
}

Result<RtnetlinkSocket::DumpEnd> RtnetlinkSocket::dump(std::uint16_t type, std::uint8_t family,
                                                       void (*handle)(void*, const nlmsghdr&),
                                                       void* context) {
  struct {
    nlmsghdr header;
    std::uint8_t body[32];
  } request{};
  request.header.nlmsg_len = NLMSG_LENGTH(dump_header_bytes(type));
  request.header.nlmsg_type = type;
  request.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.header.nlmsg_seq = ++sequence_;
  request.body[0] = family;
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
      if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR) {
        // Both begin with the code.
        const int code = dump_result(*message);
        if (code != 0) return std::unexpected(Error{code, "the kernel refused a rtnetlink dump"});
        return end;
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
