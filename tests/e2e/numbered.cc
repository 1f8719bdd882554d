// Numbered datagrams at a steady rate over many flows, and a receiver that says which numbers are
// missing.
//
//   numbered send ADDRESS PORT FLOWS PACKETS_PER_SECOND SECONDS
//   numbered receive ADDRESS PORT SECONDS_OF_SILENCE
//
// The sender prints how many it sent; the receiver, once it has heard nothing for a while, how many
// different numbers arrived, the highest, and how many came twice.
#include <arpa/inet.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <thread>
#include <vector>

namespace {

using SteadyClock = std::chrono::steady_clock;

sockaddr_in address_of(const char* address, const char* port) {
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(std::atoi(port)));
  inet_pton(AF_INET, address, &to.sin_addr);
  return to;
}

/// A flow is a source port; `flows` sockets would be too many for poll but not for sendto.
int send_all(const sockaddr_in& to, int flows, double rate, double seconds) {
  std::vector<int> sockets;
  for (int i = 0; i < flows; ++i) {
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) {
      std::perror("numbered: socket");
      return 1;
    }
    sockets.push_back(fd);
  }
  const auto start = SteadyClock::now();
  std::uint64_t sent = 0;
  std::uint64_t refused = 0;
  while (true) {
    const double elapsed = std::chrono::duration<double>(SteadyClock::now() - start).count();
    if (elapsed >= seconds) break;
    const auto due = static_cast<std::uint64_t>(elapsed * rate);
    if (sent >= due) {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
      continue;
    }
    while (sent < due) {
      const std::uint64_t number = sent;
      if (send(sockets[sent % sockets.size()], &number, sizeof number, 0) < 0) {
        ++refused;
        continue;
      }
      ++sent;
    }
  }
  std::printf("sent %llu refused %llu\n", static_cast<unsigned long long>(sent),
              static_cast<unsigned long long>(refused));
  return 0;
}

int receive_all(const sockaddr_in& at, double silence) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const int buffer = 256 << 20;
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof buffer);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) {
    std::perror("numbered: bind");
    return 1;
  }
  struct sigaction end{};  // Ends a wait for what will not come.
  end.sa_handler = [](int) {};
  sigaction(SIGTERM, &end, nullptr);
  std::vector<bool> seen;
  std::uint64_t different = 0, twice = 0;
  bool has_begun = false;
  std::puts("ready");
  std::fflush(stdout);
  while (true) {
    pollfd waiting{.fd = fd, .events = POLLIN, .revents = 0};
    const int wait_ms = has_begun ? static_cast<int>(silence * 1000) : 60000;
    if (poll(&waiting, 1, wait_ms) <= 0) break;
    std::uint64_t number = 0;
    while (recv(fd, &number, sizeof number, MSG_DONTWAIT) == sizeof number) {
      has_begun = true;
      if (number >= seen.size()) seen.resize(number * 2 + 1024);
      if (seen[number]) {
        ++twice;
      } else {
        seen[number] = true;
        ++different;
      }
    }
  }
  std::uint64_t highest = 0;
  for (std::uint64_t i = 0; i < seen.size(); ++i) highest = seen[i] ? i : highest;
  std::printf("different %llu highest %llu twice %llu\n",
              static_cast<unsigned long long>(different), static_cast<unsigned long long>(highest),
              static_cast<unsigned long long>(twice));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  if (mode == "send" && argc == 7) {
    return send_all(address_of(argv[2], argv[3]), std::atoi(argv[4]), std::atof(argv[5]),
                    std::atof(argv[6]));
  }
  if (mode == "receive" && argc == 5)
    return receive_all(address_of(argv[2], argv[3]), std::atof(argv[4]));
  std::fputs("numbered: send ADDRESS PORT FLOWS RATE SECONDS | receive ADDRESS PORT SILENCE\n",
             stderr);
  return 2;
}
