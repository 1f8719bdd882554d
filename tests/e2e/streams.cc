// Many TCP connections from one network namespace to another, with data flowing both ways on each,
// checked byte by byte. One process holds both ends (setns before each socket), so one clock tells
// how long every message was on its way.
//
//   streams CLIENT_NAMESPACE SERVER_NAMESPACE SERVER_ADDRESS PORT CONNECTIONS MESSAGE_INTERVAL_MS
//
// Says "ready" when all are connected. Commands on its standard input, one a line:
//   pause sends no more, waits until everything that was sent has arrived, and marks
//   go    sends again
//   mark  says what happened since the last mark: "longest_ms 12.3 alive 1000 wrong 0 bytes
//   123456",
//         longest_ms being how long the slowest message was on its way
//   end   as pause, and ends with 0 if all connections live, no byte was wrong and none is missing.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

constexpr std::size_t kMessageBytes = 64;
constexpr std::size_t kTimeBytes = 8;
constexpr int kPatience = 20;  // Seconds for connecting, and for what is still on its way.

std::int64_t now_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "streams: %s: %s\n", what.c_str(), std::strerror(errno));
  std::exit(2);
}

void enter(const std::string& name) {
  const int fd = open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0 || setns(fd, CLONE_NEWNET) != 0) fail("namespace " + name);
  close(fd);
}

/// The byte at `offset` of what one end sends: different for every stream.
std::uint8_t pattern(std::uint32_t stream, std::uint64_t offset) {
  std::uint64_t x = offset * 0x9e3779b97f4a7c15 + stream * 0xbf58476d1ce4e5b9u;
  x ^= x >> 31;
  return static_cast<std::uint8_t>(x * 0x94d049bb133111eb >> 56);
}

/// One end of a connection. What it sends is stream 2 n or 2 n + 1 of connection n.
struct End {
  int fd = -1;
  std::uint32_t sends = 0;
  std::uint32_t receives = 0;
  std::uint64_t sent = 0;
  std::uint64_t received = 0;
  std::array<std::uint8_t, kMessageBytes> unsent{};  // A message that the socket took a part of.
  std::uint64_t sent_at = 0;  // The time in the message that is arriving, byte by byte.
};

class Streams {
 public:
  Streams(char** arguments)
      : client_(arguments[1]),
        server_(arguments[2]),
        address_(arguments[3]),
        port_(static_cast<std::uint16_t>(std::atoi(arguments[4]))),
        connections_(static_cast<std::uint32_t>(std::atoi(arguments[5]))),
        interval_ns_(std::atoll(arguments[6]) * 1000000) {}

  void connect_all();
  int run();

 private:
  sockaddr_in address() const {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port_);
    inet_pton(AF_INET, address_.c_str(), &to.sin_addr);
    return to;
  }
  void add(int fd, std::uint32_t sends);
  void send_due(std::int64_t now);
  void send_message(End& end, std::int64_t now);
  void receive(End& end);
  void lose(End& end, const char* why);
  bool has_arrived() const;
  std::size_t alive() const;
  void mark();
  bool obey(const std::string& command);

  std::string client_, server_, address_;
  std::uint16_t port_;
  std::uint32_t connections_;
  std::int64_t interval_ns_;
  int epoll_ = epoll_create1(EPOLL_CLOEXEC);
  std::vector<End> ends_;
  std::size_t next_ = 0;       // The end whose turn it is to send.
  std::int64_t next_due_ = 0;  // When.
  std::int64_t longest_ns_ = 0;
  std::uint64_t wrong_ = 0;
  std::uint64_t bytes_ = 0;
  std::int64_t quiet_until_ = 0;  // Nothing is sent; how long what was sent may take to arrive.
  bool is_waiting_ = false;       // For that.
};

void Streams::add(int fd, std::uint32_t sends) {
  const int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  fcntl(fd, F_SETFL, O_NONBLOCK);
  ends_.push_back({.fd = fd, .sends = sends, .receives = sends ^ 1});
}

/// One after the other, so that both ends know which connection it is.
void Streams::connect_all() {
  enter(server_);
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  const sockaddr_in to = address();
  if (bind(listener, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 ||
      listen(listener, 128) != 0) {
    fail("listening");
  }
  const timeval patience{.tv_sec = kPatience, .tv_usec = 0};
  setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  enter(client_);
  for (std::uint32_t i = 0; i < connections_; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) fail("connecting");
    const int peer = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (peer < 0) fail("accepting");
    add(fd, 2 * i);
    add(peer, 2 * i + 1);
  }
  close(listener);
  for (std::size_t i = 0; i < ends_.size(); ++i) {
    epoll_event event{.events = EPOLLIN, .data = {.u64 = i}};
    epoll_ctl(epoll_, EPOLL_CTL_ADD, ends_[i].fd, &event);
  }
}

void Streams::lose(End& end, const char* why) {
  std::fprintf(stderr, "streams: connection %u: %s (%s)\n", end.sends / 2, why,
               std::strerror(errno));
  close(end.fd);
  end.fd = -1;
}

/// A message is the time and then the pattern. Of one that the socket takes a part of, the rest
/// goes first next time.
void Streams::send_message(End& end, std::int64_t now) {
  std::size_t at = end.sent % kMessageBytes;
  if (at == 0) {
    std::memcpy(end.unsent.data(), &now, kTimeBytes);
    for (std::size_t i = kTimeBytes; i < kMessageBytes; ++i) {
      end.unsent[i] = pattern(end.sends, end.sent + i);
    }
  }
  const ssize_t sent = send(end.fd, end.unsent.data() + at, kMessageBytes - at, MSG_NOSIGNAL);
  if (sent > 0) {
    end.sent += static_cast<std::uint64_t>(sent);
  } else if (errno != EAGAIN && errno != EINTR) {
    lose(end, "sending");
  }
}

void Streams::send_due(std::int64_t now) {
  const auto step = interval_ns_ / static_cast<std::int64_t>(ends_.size());
  if (next_due_ == 0) next_due_ = now;
  // A process that was held up doesn't catch up: that would be another load.
  if (now - next_due_ > interval_ns_) next_due_ = now - interval_ns_;
  for (; next_due_ <= now; next_due_ += step) {
    End& end = ends_[next_];
    next_ = (next_ + 1) % ends_.size();
    if (end.fd >= 0) send_message(end, now);
  }
}

void Streams::receive(End& end) {
  std::array<std::uint8_t, 16384> buffer;
  const ssize_t got = recv(end.fd, buffer.data(), buffer.size(), 0);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got <= 0) return lose(end, got == 0 ? "closed by the peer" : "receiving");
  const std::int64_t now = now_ns();
  for (ssize_t i = 0; i < got; ++i, ++end.received) {
    const std::uint8_t byte = buffer[static_cast<std::size_t>(i)];
    const std::size_t at = end.received % kMessageBytes;
    if (at >= kTimeBytes) {
      wrong_ += byte != pattern(end.receives, end.received);
      continue;
    }
    if (at == 0) end.sent_at = 0;
    end.sent_at |= std::uint64_t{byte} << 8 * at;
    if (at + 1 == kTimeBytes) {
      longest_ns_ = std::max(longest_ns_, now - static_cast<std::int64_t>(end.sent_at));
    }
  }
  bytes_ += static_cast<std::uint64_t>(got);
}

bool Streams::has_arrived() const {
  for (std::size_t i = 0; i < ends_.size(); ++i) {
    if (ends_[i].sent != ends_[i ^ 1].received) return false;
  }
  return true;
}

std::size_t Streams::alive() const {
  std::size_t count = 0;
  for (std::size_t i = 0; i < ends_.size(); i += 2) {
    count += ends_[i].fd >= 0 && ends_[i + 1].fd >= 0;
  }
  return count;
}

void Streams::mark() {
  std::printf("longest_ms %.1f alive %zu wrong %llu bytes %llu\n",
              static_cast<double>(longest_ns_) / 1e6, alive(),
              static_cast<unsigned long long>(wrong_), static_cast<unsigned long long>(bytes_));
  std::fflush(stdout);
  longest_ns_ = 0;
  bytes_ = 0;
}

/// What a command says; true when it is the last.
bool Streams::obey(const std::string& command) {
  if (command == "mark") mark();
  if (command == "go") quiet_until_ = 0;
  if (command == "pause" || command == "end") {
    quiet_until_ = now_ns() + kPatience * std::int64_t{1000000000};
    is_waiting_ = true;
  }
  return command == "end";
}

int Streams::run() {
  constexpr std::uint64_t kInput = ~std::uint64_t{0};
  epoll_event input{.events = EPOLLIN, .data = {.u64 = kInput}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, STDIN_FILENO, &input);
  bool is_last = false;
  std::string line;
  while (!is_last || is_waiting_) {
    std::array<epoll_event, 256> events;
    const int count = epoll_wait(epoll_, events.data(), events.size(), 1);
    for (int i = 0; i < count; ++i) {
      const std::uint64_t which = events[static_cast<std::size_t>(i)].data.u64;
      if (which != kInput) {
        if (ends_[which].fd >= 0) receive(ends_[which]);
        continue;
      }
      char text[64];
      const ssize_t got = read(STDIN_FILENO, text, sizeof text);
      if (got <= 0) return 2;
      line.append(text, static_cast<std::size_t>(got));
      for (std::size_t end; (end = line.find('\n')) != std::string::npos; line.erase(0, end + 1)) {
        is_last |= obey(line.substr(0, end));
      }
    }
    if (quiet_until_ == 0) send_due(now_ns());
    if (is_waiting_ && (has_arrived() || now_ns() > quiet_until_)) {
      is_waiting_ = false;
      mark();
    }
  }
  const bool is_whole = has_arrived();
  if (!is_whole) std::fprintf(stderr, "streams: not everything that was sent has arrived\n");
  return is_whole && alive() == connections_ && wrong_ == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    std::fprintf(stderr,
                 "usage: streams CLIENT_NAMESPACE SERVER_NAMESPACE SERVER_ADDRESS PORT "
                 "CONNECTIONS MESSAGE_INTERVAL_MS\n");
    return 2;
  }
  Streams streams(argv);
  streams.connect_all();
  std::puts("ready");
  std::fflush(stdout);
  return streams.run();
}
