// What a port costs without an engine: takes packets from one device, writes the next hop's MAC
// address, changes the source address as SNAT would, and sends them by another. For bench/wire/run.
//
//   wire_forward IN OUT DRIVER TX NEXT_HOP_MAC NEW_SOURCE
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/ether.h>
#include <signal.h>

#include <cstdio>
#include <cstring>
#include <string>

#include "io/wire_port.h"
#include "wire/checksum.h"
#include "wire/ethernet.h"

namespace {

using namespace weir;

volatile sig_atomic_t is_stopping = 0;

std::unique_ptr<io::Queue> open_port(const std::string& device, std::string_view driver,
                                     std::string_view tx) {
  auto port =
      io::open_wire_port({.device = device, .workers = 1, .wish = {.driver = driver, .tx = tx}});
  if (port) {
    fmt::print("{}: {} {}\n", device, io::name_of(port->choice.driver),
               io::name_of(port->choice.transmit));
    auto queues = io::make_wire_queues(std::move(*port), {});
    if (queues) return std::move(queues->front());
    fmt::print(stderr, "wire_forward: {}\n", queues.error().text);
  } else {
    fmt::print(stderr, "wire_forward: {}\n", port.error().text);
  }
  std::exit(1);
}

/// The incremental update of RFC 1624, for the IP header's and the UDP checksum.
void change_source(std::uint8_t* frame, std::uint32_t source) {
  constexpr std::size_t kIp = 14, kSource = kIp + 12;
  std::uint32_t delta = 0;
  for (std::size_t i = 0; i < 4; i += 2) {
    std::uint16_t was, is;
    std::memcpy(&was, frame + kSource + i, 2);
    std::memcpy(&is, reinterpret_cast<std::uint8_t*>(&source) + i, 2);
    delta += static_cast<std::uint16_t>(~was) + is;
  }
  std::memcpy(frame + kSource, &source, 4);
  for (const std::size_t at : {kIp + 10, kIp + 20 + 6}) {
    std::uint16_t checksum;
    std::memcpy(&checksum, frame + at, 2);
    std::uint32_t sum = static_cast<std::uint16_t>(~checksum) + delta;
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    checksum = static_cast<std::uint16_t>(~sum);
    std::memcpy(frame + at, &checksum, 2);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) {
    fmt::print(stderr, "wire_forward IN OUT DRIVER TX NEXT_HOP_MAC NEW_SOURCE\n");
    return 2;
  }
  const auto in = open_port(argv[1], argv[3], argv[4]);
  const auto out = open_port(argv[2], argv[3], argv[4]);
  const ether_addr* const mac = ether_aton(argv[5]);
  in_addr source{};
  if (mac == nullptr || inet_aton(argv[6], &source) == 0) return 2;
  signal(SIGTERM, [](int) { is_stopping = 1; });
  fmt::print("forwarding\n");
  std::fflush(stdout);

  packet::Pool pool(4096, 64);
  while (is_stopping == 0) {
    for (int i = 0; i < 4; ++i) {
      packet::Batch batch;
      if (in->receive(batch, pool) == 0) break;
      for (packet::Packet* packet : batch) {
        std::memcpy(packet->frame(), mac, 6);
        change_source(packet->frame(), source.s_addr);
      }
      out->send({batch.begin(), batch.size()}, pool);
    }
    out->kick();
  }
  fmt::print("received {} sent {} failed {} missed {}\n", in->counters().rx_packets.value(),
             out->counters().tx_packets.value(), out->counters().tx_failed.value(),
             in->counters().rx_missed.value());
  return 0;
}
