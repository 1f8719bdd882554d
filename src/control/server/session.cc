#include "control/server/session.h"

#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "preload/protocol.h"

namespace weir::control {
namespace {

/// What the kernel charges a socket for a small datagram beside its bytes.
constexpr std::size_t kDatagramOverhead = 512;
/// Dump datagrams in one turn, before the other sessions get theirs.
constexpr int kDatagramsAtOnce = 32;
/// So much of a dump may lie unread in the connection; it leaves room for events in a receive
/// buffer of the default size.
constexpr int kConnectionBytes = 48 * 1024;
constexpr std::uint32_t kDefaultBuffer = 212992;

}  // namespace

Session::Session(const Identity& identity, const BufferLimits& limits)
    : identity_(identity),
      limits_(limits),
      receive_buffer_(kDefaultBuffer),
      send_buffer_(kDefaultBuffer) {}

Session::~Session() = default;

std::size_t Session::unread_bytes() const {
  int in_connection = 0;
  if (data_.is_open() && ioctl(data_.get(), SIOCOUTQ, &in_connection) < 0) in_connection = 0;
  return waiting_.size() - waiting_begin_ + static_cast<std::size_t>(in_connection);
}

bool Session::has_room() {
  if (is_congested_) {
    charged_ = unread_bytes();
    is_congested_ = charged_ != 0;
    return !is_congested_;
  }
  if (charged_ <= receive_buffer_) return true;
  charged_ = unread_bytes();
  return charged_ <= receive_buffer_;
}

void Session::lose() {
  ++lost_;
  if (ignores_overruns_ || std::exchange(is_congested_, true)) return;
  queue({}, 0, ENOBUFS);
}

void Session::report_loss(std::uint64_t datagrams) {
  lost_ += datagrams;
  if (!ignores_overruns_ && !is_congested_) queue({}, 0, ENOBUFS);
}

Session::Delivery Session::deliver(Bytes datagram, std::uint32_t group) {
  const std::uint32_t passed = filter_.run(datagram);
  if (!passed) return Delivery::filtered;
  if (!has_room()) {
    lose();
    return Delivery::lost;
  }
  queue(datagram.first(std::min<std::size_t>(passed, datagram.size())), group, 0);
  return Delivery::queued;
}

void Session::queue(Bytes datagram, std::uint32_t group, std::uint16_t error) {
  const weir_frame frame{.length = static_cast<std::uint32_t>(datagram.size()),
                         .error = error,
                         .flags = static_cast<std::uint16_t>(dump_ ? WEIR_FRAME_MORE : 0),
                         .group = group};
  const Bytes header = as_bytes(frame);
  ++frames_;
  charged_ += datagram.size() + kDatagramOverhead;
  const std::size_t sent = waiting_.empty() ? send_now(header, datagram) : 0;
  keep(header.subspan(std::min(sent, header.size())));
  keep(datagram.subspan(sent > header.size() ? sent - header.size() : 0));
  update_interest();
}

std::size_t Session::send_now(Bytes header, Bytes datagram) {
  if (!data_.is_open() || is_broken_) return 0;
  iovec parts[] = {{const_cast<std::uint8_t*>(header.data()), header.size()},
                   {const_cast<std::uint8_t*>(datagram.data()), datagram.size()}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  const ssize_t sent = sendmsg(data_.get(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent >= 0) return static_cast<std::size_t>(sent);
  if (errno != EAGAIN && errno != EINTR) is_broken_ = true;
  return 0;
}

void Session::keep(Bytes bytes) { waiting_.insert(waiting_.end(), bytes.begin(), bytes.end()); }

void Session::flush() {
  while (waiting_begin_ < waiting_.size()) {
    const std::size_t sent = send_now(Bytes(waiting_).subspan(waiting_begin_), {});
    if (!sent) return;
    waiting_begin_ += sent;
  }
  waiting_.clear();
  waiting_begin_ = 0;
  if (waiting_.capacity() > kDefaultBuffer) waiting_.shrink_to_fit();
}

Result<void> Session::start_dump(std::unique_ptr<Dump> dump, const netlink::Message& request) {
  if (dump_) return std::unexpected(Error{EBUSY, "this socket is still reading another dump"});
  dump_ = std::make_unique<DumpRun>(std::move(dump), request, port_id_);
  continue_dump();
  update_interest();
  return {};
}

void Session::continue_dump() {
  netlink::Buffer datagram;
  for (int i = 0; dump_ && i < kDatagramsAtOnce && waiting_.empty() && !is_broken_; ++i) {
    const DumpRun::Progress progress = dump_->produce(datagram);
    if (progress == DumpRun::Progress::finished) dump_.reset();
    if (progress == DumpRun::Progress::nothing) return;
    const std::uint32_t passed = filter_.run(datagram);
    if (passed) queue(Bytes(datagram).first(std::min<std::size_t>(passed, datagram.size())), 0, 0);
  }
}

void Session::attach(FileDescriptor data, int epoll) {
  data_ = std::move(data);
  epoll_ = epoll;
  const int bytes = kConnectionBytes;
  setsockopt(data_.get(), SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  pump();
}

void Session::pump() {
  flush();
  continue_dump();
  update_interest();
}

void Session::update_interest() {
  const bool is_wanted = !is_broken_ && (dump_ || !waiting_.empty());
  if (!data_.is_open() || is_wanted == watches_writable_) return;
  epoll_event event{};
  event.events = EPOLLRDHUP | (is_wanted ? std::uint32_t{EPOLLOUT} : 0);
  event.data.fd = data_.get();
  if (epoll_ctl(epoll_, EPOLL_CTL_MOD, data_.get(), &event) == 0) watches_writable_ = is_wanted;
}

}  // namespace weir::control
