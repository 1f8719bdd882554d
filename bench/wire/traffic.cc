// The traffic of the wire benchmark (bench/wire/run). Two commands, each in a network namespace:
//
//   wire_traffic generate DEVICE GATEWAY_MAC FIRST_SOURCE DESTINATION FLOWS
//     reads "RATE COUNT" lines from standard input, sends COUNT packets at RATE packets a second
//     (0: as fast as it can) and answers each line by "SENT SECONDS".
//   wire_traffic check DEVICE FIRST_SOURCE LAST_SOURCE
//     counts what arrives, and answers each line of input by "GOOD WRONG_SOURCE WRONG_CHECKSUM".
//
// Frames are made by an XDP program in the kernel (BPF_PROG_TEST_RUN with live frames): about 100
// ns each, so that the generator isn't what is measured.
#include "bench/wire/traffic.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <netinet/ether.h>
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "bench/wire/traffic_bpf_object.h"

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::uint32_t kBurst = 128;  // Packets a call, when paced.
constexpr std::uint32_t kFrameBytes = 60;
constexpr std::uint32_t kStride = 2654435761;  // Scatters the flows: no two neighbours in turn.
constexpr std::uint32_t kAtOnce = 64;

[[noreturn]] void fail(const std::string& what) {
  fmt::print(stderr, "wire_traffic: {}: {}\n", what, std::strerror(errno));
  std::exit(1);
}

std::uint32_t address(const char* text) {
  in_addr parsed{};
  if (inet_aton(text, &parsed) == 0) fail(text);
  return ntohl(parsed.s_addr);
}

std::uint32_t device(const char* name) {
  const std::uint32_t ifindex = if_nametoindex(name);
  if (ifindex == 0) fail(name);
  return ifindex;
}

struct Programs {
  int program = -1;
  volatile wire_state* state = nullptr;
};

/// The program of that name, and the variable.
Programs load(const char* name) {
  libbpf_set_print([](libbpf_print_level, const char*, va_list) { return 0; });
  LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = "traffic");
  bpf_object* const object =
      bpf_object__open_mem(kTrafficBpfObject, sizeof kTrafficBpfObject, &options);
  if (object == nullptr || bpf_object__load(object) != 0) fail("loading the programs");
  Programs programs;
  programs.program = bpf_program__fd(bpf_object__find_program_by_name(object, name));
  const int bss = bpf_object__find_map_fd_by_name(object, "traffic.bss");
  void* const at = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, bss, 0);
  if (at == MAP_FAILED) fail("mapping the variables");
  programs.state = static_cast<volatile wire_state*>(at);
  return programs;
}

void attach(int program, std::uint32_t ifindex, std::uint32_t mode) {
  LIBBPF_OPTS(bpf_link_create_opts, options, .flags = mode);
  if (bpf_link_create(program, static_cast<int>(ifindex), BPF_XDP, &options) < 0) fail("attaching");
}

void send(int program, std::uint32_t count) {
  const std::vector<std::uint8_t> empty(kFrameBytes);
  LIBBPF_OPTS(bpf_test_run_opts, options, .data_in = empty.data(), .data_size_in = kFrameBytes,
              .repeat = static_cast<int>(count), .flags = BPF_F_TEST_XDP_LIVE_FRAMES,
              .batch_size = std::min(count, kAtOnce));
  if (bpf_prog_test_run_opts(program, &options) != 0) fail("sending");
}

/// Seconds that it took. Time that was lost (somebody else had the processor) isn't made up for by
/// going faster: that would be a burst that no gateway could be blamed for losing.
double send_paced(int program, std::uint64_t rate, std::uint64_t count) {
  const auto begin = Clock::now();
  const std::uint32_t burst = rate == 0 ? 65536 : kBurst;
  const std::chrono::nanoseconds interval(rate == 0 ? 0 : burst * 1'000'000'000ULL / rate);
  auto due = begin;
  for (std::uint64_t sent = 0; sent < count; sent += burst) {
    while (Clock::now() < due) {
    }
    if (Clock::now() > due + interval) due = Clock::now();
    due += interval;
    send(program, static_cast<std::uint32_t>(std::min<std::uint64_t>(burst, count - sent)));
  }
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

int generate(char** words) {
  const Programs programs = load("generate");
  volatile wire_flows& flows = programs.state->flows;
  const std::uint32_t ifindex = device(words[0]);
  const ether_addr* const mac = ether_aton(words[1]);
  if (mac == nullptr) fail(words[1]);
  for (int i = 0; i < 6; ++i) flows.gateway_mac[i] = mac->ether_addr_octet[i];
  flows.first_source = address(words[2]);
  flows.destination = address(words[3]);
  flows.mask = static_cast<std::uint32_t>(std::strtoul(words[4], nullptr, 10)) - 1;
  flows.stride = kStride;
  flows.ifindex = ifindex;
  // Attached, or each run waits for RCU. Loopback has no use for XDP in this namespace.
  attach(programs.program, device("lo"), XDP_FLAGS_SKB_MODE);
  unsigned long long rate, count;
  while (std::scanf("%llu %llu", &rate, &count) == 2) {
    const std::uint64_t before = flows.next;
    const double seconds = send_paced(programs.program, rate, count);
    fmt::print("{} {:.6f}\n", flows.next - before, seconds);
    std::fflush(stdout);
  }
  return 0;
}

int check(char** words) {
  const Programs programs = load("check");
  volatile wire_counts& counts = programs.state->counts;
  counts.first_source = address(words[1]);
  counts.last_source = address(words[2]);
  attach(programs.program, device(words[0]), XDP_FLAGS_DRV_MODE);
  fmt::print("ready\n");
  std::fflush(stdout);
  char line[64];
  while (std::fgets(line, sizeof line, stdin) != nullptr) {
    fmt::print("{} {} {}\n", counts.good, counts.wrong_source, counts.wrong_checksum);
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  if (what == "generate" && argc == 7) return generate(argv + 2);
  if (what == "check" && argc == 5) return check(argv + 2);
  fmt::print(stderr,
             "wire_traffic generate DEVICE GATEWAY_MAC FIRST_SOURCE DESTINATION FLOWS\n"
             "wire_traffic check DEVICE FIRST_SOURCE LAST_SOURCE\n");
  return 2;
}
