#include "tools/netlink_socket.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "netlink/writer.h"

namespace weir::tools {
namespace {

constexpr std::size_t kReceiveBytes = 65536;

}  // namespace

Result<NetlinkSocket> NetlinkSocket::open() {
  NetlinkSocket opened(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
  if (opened.fd_ < 0) return std::unexpected(system_error("netlink socket"));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (bind(opened.fd_, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    return std::unexpected(system_error("binding the netlink socket"));
  }
  return opened;
}

NetlinkSocket::NetlinkSocket(NetlinkSocket&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}

NetlinkSocket::~NetlinkSocket() {
  if (fd_ >= 0) close(fd_);
}

Result<void> NetlinkSocket::dump(std::uint8_t subsystem, std::uint8_t number,
                                 const std::function<void(const netlink::Message&)>& each) {
  netlink::Buffer request;
  netlink::Writer writer(request);
  writer.begin({.type = static_cast<std::uint16_t>(subsystem << 8 | number),
                .flags = NLM_F_REQUEST | NLM_F_DUMP,
                .sequence = 1});
  writer.end();
  if (send(fd_, request.data(), request.size(), 0) < 0)
    return std::unexpected(system_error("sending the request"));

  std::array<std::uint8_t, kReceiveBytes> datagram;
  while (true) {
    const ssize_t received = recv(fd_, datagram.data(), datagram.size(), 0);
    if (received < 0 && errno == EINTR) continue;
    if (received < 0) return std::unexpected(system_error("reading the answer"));
    Bytes rest = Bytes(datagram).first(static_cast<std::size_t>(received));
    while (const auto message = netlink::Message::take(rest)) {
      if (message->header().nlmsg_type == NLMSG_DONE) return {};
      if (message->header().nlmsg_type == NLMSG_ERROR) {
        const int code =
            -load<std::int32_t>(message->bytes().data() + netlink::Message::kHeaderBytes);
        return std::unexpected(
            Error{code, std::string("the engine refused: ") + std::strerror(code)});
      }
      each(*message);
    }
  }
}

}  // namespace weir::tools
