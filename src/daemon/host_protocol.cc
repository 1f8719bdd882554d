#include "daemon/host_protocol.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/bytes.h"

namespace weir::daemon {
namespace {

constexpr std::size_t kDescriptorsAtOnce = 200;  // The kernel's limit is 253.

std::size_t count_of(const HostReply& reply) {
  std::size_t count = 0;
  for (const std::uint8_t each : reply.counts) count += each;
  return count;
}

/// From the other side; whatever it put there, a text ends.
template <std::size_t Size>
void end_text(std::array<char, Size>& text) {
  text.back() = 0;
}

void take_descriptors(msghdr& message, std::vector<FileDescriptor>& descriptors) {
  for (cmsghdr* at = CMSG_FIRSTHDR(&message); at != nullptr; at = CMSG_NXTHDR(&message, at)) {
    if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd = -1;
      std::memcpy(&fd, CMSG_DATA(at) + i * sizeof fd, sizeof fd);
      descriptors.emplace_back(fd);
    }
  }
}

}  // namespace

Result<std::array<FileDescriptor, 2>> make_pair_of_sockets() {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
    return std::unexpected(system_error("socketpair"));
  return std::array{FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

bool send_message(int socket, std::span<const std::uint8_t> bytes, std::span<const int> descriptors,
                  int flags) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kDescriptorsAtOnce * sizeof(int))> control{};
  iovec part{const_cast<std::uint8_t*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  if (!descriptors.empty()) {
    message.msg_control = control.data();
    message.msg_controllen = CMSG_SPACE(descriptors.size_bytes());
    cmsghdr* const head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(descriptors.size_bytes());
    std::memcpy(CMSG_DATA(head), descriptors.data(), descriptors.size_bytes());
  }
  ssize_t sent = 0;
  do {
    sent = sendmsg(socket, &message, MSG_NOSIGNAL | flags);
  } while (sent < 0 && errno == EINTR);
  return sent == static_cast<ssize_t>(bytes.size());
}

std::optional<std::size_t> receive_message(int socket, std::span<std::uint8_t> bytes,
                                           std::vector<FileDescriptor>& descriptors, int flags) {
  alignas(cmsghdr) std::array<char, CMSG_SPACE(kDescriptorsAtOnce * sizeof(int))> control{};
  iovec part{bytes.data(), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got = 0;
  do {
    got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC | flags);
  } while (got < 0 && errno == EINTR);
  if (got <= 0) return std::nullopt;
  take_descriptors(message, descriptors);
  if ((message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) return std::nullopt;
  return static_cast<std::size_t>(got);
}

bool send_request(int socket, const HostRequest& request, bool waits) {
  return send_message(socket, as_bytes(request), {}, waits ? 0 : MSG_DONTWAIT);
}

bool send_reply(int socket, HostReply reply, const Handles& handles) {
  std::vector<int> numbers;
  for (std::size_t kind = 0; kind < kHandleKinds; ++kind) {
    reply.counts[kind] = static_cast<std::uint8_t>(handles[kind].size());
    for (const FileDescriptor& each : handles[kind]) numbers.push_back(each.get());
  }
  const std::span<const int> descriptors = numbers;
  const auto first = descriptors.first(std::min(descriptors.size(), kDescriptorsAtOnce));
  if (!send_message(socket, as_bytes(reply), first)) return false;
  constexpr std::uint8_t kMore[1] = {0};
  for (auto rest = descriptors.subspan(first.size()); !rest.empty();) {
    const auto now = rest.first(std::min(rest.size(), kDescriptorsAtOnce));
    if (!send_message(socket, kMore, now)) return false;
    rest = rest.subspan(now.size());
  }
  return true;
}

std::optional<HostRequest> receive_request(int socket) {
  HostRequest request;
  std::vector<FileDescriptor> unwanted;
  const auto got = receive_message(
      socket, {reinterpret_cast<std::uint8_t*>(&request), sizeof request}, unwanted);
  if (got != sizeof request || !unwanted.empty()) return std::nullopt;
  end_text(request.device);
  return request;
}

std::optional<HostReply> receive_reply(int socket, Handles& handles) {
  HostReply reply;
  std::vector<FileDescriptor> descriptors;
  const auto got =
      receive_message(socket, {reinterpret_cast<std::uint8_t*>(&reply), sizeof reply}, descriptors);
  if (got != sizeof reply) return std::nullopt;
  while (descriptors.size() < count_of(reply)) {
    std::uint8_t more[1];
    const std::size_t before = descriptors.size();
    if (!receive_message(socket, more, descriptors) || descriptors.size() == before)
      return std::nullopt;
  }
  if (descriptors.size() != count_of(reply)) return std::nullopt;
  auto next = descriptors.begin();
  for (std::size_t kind = 0; kind < kHandleKinds; ++kind) {
    for (std::uint8_t i = 0; i < reply.counts[kind]; ++i)
      handles[kind].push_back(std::move(*next++));
  }
  end_text(reply.text);
  end_text(reply.more);
  return reply;
}

HostReply describe_port(PortHandles port, Handles& handles) {
  HostReply reply{.ifindex = port.wire.ifindex,
                  .tap_ifindex = port.tap_ifindex,
                  .driver = static_cast<std::uint8_t>(port.wire.choice.driver),
                  .transmit = static_cast<std::uint8_t>(port.wire.choice.transmit)};
  put_text(reply.text, port.wire.choice.why);
  put_text(reply.more, port.wire.choice.transmit_why);
  of(handles, HandleKind::packet) = std::move(port.wire.packet_sockets);
  of(handles, HandleKind::tap) = std::move(port.taps);
  if (!port.wire.xdp) return reply;

  io::XdpDescriptors& xdp = *port.wire.xdp;
  reply.is_native = xdp.is_native;
  const auto put = [&](HandleKind kind, FileDescriptor& each) {
    if (each.is_open()) of(handles, kind).push_back(std::move(each));
  };
  put(HandleKind::xdp_link, xdp.link);
  put(HandleKind::xdp_program, xdp.program);
  put(HandleKind::xdp_memory, xdp.memory);
  put(HandleKind::live_slots, xdp.live_slots);
  put(HandleKind::live_control, xdp.live_control);
  of(handles, HandleKind::xdp_socket) = std::move(xdp.sockets);
  of(handles, HandleKind::sender) = std::move(xdp.senders);
  return reply;
}

Result<PortHandles> read_port(const HostReply& reply, Handles handles) {
  if (reply.driver > static_cast<std::uint8_t>(io::Driver::af_xdp) ||
      reply.transmit > static_cast<std::uint8_t>(io::Transmit::live) ||
      of(handles, HandleKind::tap).empty())
    return std::unexpected(Error{EPROTO, "the privileged process has said something unexpected"});
  const std::size_t workers = of(handles, HandleKind::tap).size();
  PortHandles port{.wire = {.ifindex = reply.ifindex,
                            .choice = {.driver = static_cast<io::Driver>(reply.driver),
                                       .transmit = static_cast<io::Transmit>(reply.transmit),
                                       .why = reply.text.data(),
                                       .transmit_why = reply.more.data()},
                            .packet_sockets = std::move(of(handles, HandleKind::packet)),
                            .xdp = {}},
                   .tap_ifindex = reply.tap_ifindex,
                   .taps = std::move(of(handles, HandleKind::tap))};
  if (port.wire.choice.driver != io::Driver::af_xdp) return port;

  const auto take = [&](HandleKind kind) {
    auto& found = of(handles, kind);
    return found.empty() ? FileDescriptor() : std::move(found[0]);
  };
  port.wire.xdp = io::XdpDescriptors{.ifindex = reply.ifindex,
                                     .workers = static_cast<std::uint32_t>(workers),
                                     .is_native = reply.is_native != 0,
                                     .link = take(HandleKind::xdp_link),
                                     .program = take(HandleKind::xdp_program),
                                     .sockets = std::move(of(handles, HandleKind::xdp_socket)),
                                     .memory = take(HandleKind::xdp_memory),
                                     .live_slots = take(HandleKind::live_slots),
                                     .live_control = take(HandleKind::live_control),
                                     .senders = std::move(of(handles, HandleKind::sender))};
  return port;
}

}  // namespace weir::daemon
