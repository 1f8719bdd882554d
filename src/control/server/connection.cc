#include "control/server/connection.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "control/server/session.h"

namespace weir::control {
namespace {

/// Enough for every call but a datagram: the largest is a socket filter.
constexpr std::size_t kCallBytes = 64 * 1024;
/// A datagram costs us its memory, whatever SO_SNDBUFFORCE says. 20,000 rules of nft take 7 MB.
constexpr std::size_t kLargestDatagram = 256 * 1024 * 1024;
/// Payload buffers beyond this are given back after the call.
constexpr std::size_t kKeptBytes = 256 * 1024;

}  // namespace

std::size_t Connection::payload_limit() const {
  if (!session_ || call_.operation != WEIR_SEND) return kCallBytes;
  return std::min<std::size_t>(session_->send_buffer_bytes(), kLargestDatagram);
}

/// Bytes received; zero when there are none now, -1 when there will be none.
std::ptrdiff_t Connection::receive(std::uint8_t* into, std::size_t bytes) {
  const ssize_t got = recv(socket_.get(), into, bytes, MSG_DONTWAIT);
  if (got > 0) return got;
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  return -1;
}

void Connection::start_payload() {
  payload_bytes_ = 0;
  is_oversized_ = call_.length > payload_limit();
  if (payload_.capacity() > kKeptBytes) netlink::Buffer().swap(payload_);
  payload_.clear();
}

std::optional<Connection::Input> Connection::read_header() {
  if (header_bytes_ == sizeof call_) return {};
  auto* at = reinterpret_cast<std::uint8_t*>(&call_) + header_bytes_;
  const std::ptrdiff_t got = receive(at, sizeof call_ - header_bytes_);
  if (got < 0) return Input::closed;
  header_bytes_ += static_cast<std::size_t>(got);
  if (header_bytes_ < sizeof call_) return Input::nothing;
  start_payload();
  return {};
}

/// Memory grows with what has come, not with what was announced.
std::optional<Connection::Input> Connection::read_payload() {
  std::array<std::uint8_t, 64 * 1024> chunk;
  while (payload_bytes_ < call_.length) {
    const std::size_t step = std::min<std::size_t>(chunk.size(), call_.length - payload_bytes_);
    const std::ptrdiff_t got = receive(chunk.data(), step);
    if (got < 0) return Input::closed;
    if (got == 0) return Input::nothing;
    payload_bytes_ += static_cast<std::size_t>(got);
    if (!is_oversized_) payload_.insert(payload_.end(), chunk.begin(), chunk.begin() + got);
  }
  return {};
}

Connection::Input Connection::read() {
  if (const auto input = read_header()) return *input;
  if (const auto input = read_payload()) return *input;
  header_bytes_ = 0;
  return Input::call;
}

bool Connection::answer(const weir_answer& answer, Bytes payload) {
  weir_answer head = answer;
  head.length = static_cast<std::uint32_t>(payload.size());
  iovec parts[] = {{&head, sizeof head},
                   {const_cast<std::uint8_t*>(payload.data()), payload.size()}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  const ssize_t sent = sendmsg(socket_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  return sent == static_cast<ssize_t>(sizeof head + payload.size());
}

}  // namespace weir::control
