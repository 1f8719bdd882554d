#include "daemon/handover.h"

#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <span>

#include "base/bytes.h"
#include "daemon/host_protocol.h"

namespace weir::daemon {
namespace {

/// How long a new engine may take between stop and leave, and how long an answer may take.
constexpr int kPatienceMs = 10'000;

Result<sockaddr_un> address_of(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return std::unexpected(Error{ENAMETOOLONG, "the path " + path + " is too long for a socket"});
  }
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  return address;
}

std::string path_in(const std::string& folder) { return folder + "/handover"; }

bool is_readable(int fd, int wait_ms) {
  pollfd wanted{.fd = fd, .events = POLLIN, .revents = 0};
  return poll(&wanted, 1, wait_ms) == 1;
}

/// Only root and the engine's own user may take its place.
bool may_replace(int socket) {
  ucred peer{};
  socklen_t length = sizeof peer;
  return getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
         (peer.uid == 0 || peer.uid == geteuid());
}

std::optional<HandoverMessage> receive(int socket, std::vector<FileDescriptor>& descriptors) {
  HandoverMessage message;
  const std::span<std::uint8_t> bytes(reinterpret_cast<std::uint8_t*>(&message), sizeof message);
  const auto got = receive_message(socket, bytes, descriptors);
  if (!got || *got != sizeof message || message.magic != HandoverMessage::kMagic) return {};
  message.text.back() = 0;
  return message;
}

}  // namespace

Result<std::unique_ptr<Handover>> Handover::open(const std::string& folder,
                                                 control::Server& server, Host host) {
  std::unique_ptr<Handover> made(new Handover(path_in(folder), server, std::move(host)));
  const auto address = address_of(made->path_);
  if (!address) return std::unexpected(address.error());
  made->listener_ =
      FileDescriptor(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!made->listener_.is_open()) return std::unexpected(system_error("the handover's socket"));
  unlink(made->path_.c_str());
  if (bind(made->listener_.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) !=
          0 ||
      listen(made->listener_.get(), 1) != 0) {
    return std::unexpected(system_error("cannot listen at " + made->path_));
  }
  if (auto watched = server.watch(made->listener_.get(), *made); !watched)
    return std::unexpected(watched.error());
  return made;
}

Handover::~Handover() = default;

void Handover::remove_file() { unlink(path_.c_str()); }

void Handover::on_readable() {
  if (!successor_.is_open()) return accept_one();
  if (!is_readable(successor_.get(), 0)) return;
  std::vector<FileDescriptor> none;
  const auto message = receive(successor_.get(), none);
  if (!message || message->version != HandoverMessage::kVersion) return give_up_on();
  serve(message->step);
}

void Handover::accept_one() {
  FileDescriptor socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!socket.is_open() || !may_replace(socket.get())) return;
  if (!server_.watch(socket.get(), *this)) return;
  successor_ = std::move(socket);
}

void Handover::serve(HandoverStep step) {
  if (step == HandoverStep::hello) {
    const HandoverMessage message{.step = step,
                                  .has_exclusive_devices = host_.has_exclusive_devices()};
    const auto descriptors = host_.descriptors();
    return answer(message, {descriptors.begin(), descriptors.end()});
  }
  if (step == HandoverStep::ports) has_opened_ports_ = true;
  if (step != HandoverStep::stop) return;
  HandoverMessage message{.step = step};
  const auto stopped = host_.stop();
  if (!stopped) {
    message.error = stopped.error().code == 0 ? EIO : stopped.error().code;
    put_text(message.text, stopped.error().text);
  }
  answer(message);
  finish_stop();
}

/// Nothing else is done until the new engine has decided.
void Handover::finish_stop() {
  std::vector<FileDescriptor> none;
  const bool has_come = successor_.is_open() && is_readable(successor_.get(), kPatienceMs);
  const auto message = has_come ? receive(successor_.get(), none) : std::nullopt;
  if (message && message->step == HandoverStep::leave) {
    is_replaced_ = true;
    return;
  }
  has_opened_ports_ = true;  // And we have stopped.
  give_up_on();
}

void Handover::give_up_on() {
  spdlog::warn("the engine that was to take our place has given up: going on");
  successor_ = {};
  if (has_opened_ports_) host_.go_on();
  has_opened_ports_ = false;
}

void Handover::answer(HandoverMessage message, std::vector<int> descriptors) {
  if (!send_message(successor_.get(), as_bytes(message), descriptors)) successor_ = {};
}

Result<Takeover> Takeover::begin(const std::string& folder) {
  const std::string path = path_in(folder);
  const auto address = address_of(path);
  if (!address) return std::unexpected(address.error());
  FileDescriptor socket(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!socket.is_open()) return std::unexpected(system_error("the handover's socket"));
  if (connect(socket.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    if (errno != ENOENT && errno != ECONNREFUSED)
      return std::unexpected(system_error("cannot reach the running engine at " + path));
    return std::unexpected(Error{ENOENT, "no engine runs on the state folder " + folder +
                                             ": there is nothing to replace; start without "
                                             "--replace"});
  }
  Takeover takeover(std::move(socket));
  std::vector<FileDescriptor> descriptors;
  const auto welcome = takeover.call(HandoverStep::hello, descriptors);
  if (!welcome) return std::unexpected(welcome.error());
  if (descriptors.size() != 3)
    return std::unexpected(Error{EPROTO, "the running engine hands over something else"});
  takeover.descriptors_ = {.state_lock = std::move(descriptors[0]),
                           .listener = std::move(descriptors[1]),
                           .listener_lock = std::move(descriptors[2])};
  takeover.has_exclusive_devices_ = welcome->has_exclusive_devices != 0;
  return takeover;
}

bool Takeover::say(HandoverStep step) {
  const HandoverMessage message{.step = step};
  return send_message(socket_.get(), as_bytes(message), {});
}

Result<HandoverMessage> Takeover::call(HandoverStep step,
                                       std::vector<FileDescriptor>& descriptors) {
  const bool is_answered = say(step) && is_readable(socket_.get(), kPatienceMs);
  auto reply = is_answered ? receive(socket_.get(), descriptors) : std::nullopt;
  if (!reply) {
    return std::unexpected(Error{EPROTO, "the running engine doesn't answer: it refuses this user, "
                                         "or is busy or of another version"});
  }
  if (reply->error != 0) return std::unexpected(Error{reply->error, reply->text.data()});
  return *reply;
}

Result<void> Takeover::stop() {
  std::vector<FileDescriptor> none;
  const auto stopped = call(HandoverStep::stop, none);
  if (!stopped) return std::unexpected(stopped.error());
  has_stopped_ = true;
  return {};
}

void Takeover::leave() {
  say(HandoverStep::leave);
  socket_ = {};
}

}  // namespace weir::daemon
