#include "engine/engine.h"

#include <poll.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "engine/control_plane.h"

/// An engine without ports: its workers, its control thread and its socket, for tests that only
/// talk to it. Usage: bare_engine SOCKET [WORKERS]. Says "ready" when it serves; ends when its
/// standard input does.
namespace {

using weir::engine::ControlPlane;
using weir::engine::Engine;

constexpr weir::Duration kServeWait = std::chrono::milliseconds(20);

bool has_more_input() {
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  if (poll(&input, 1, 0) <= 0) return true;
  char byte;
  return read(STDIN_FILENO, &byte, 1) > 0;
}

void work(weir::pipeline::Worker& worker, const std::atomic<bool>& is_stopping) {
  while (!is_stopping) {
    const bool is_busy = worker.turn(weir::boot_time(), weir::wall_time());
    worker.rest();
    if (!is_busy) std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
}

int fail(const weir::Error& error) {
  std::fprintf(stderr, "bare_engine: %s\n", error.text.c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: bare_engine SOCKET [WORKERS]\n");
    return 2;
  }
  weir::engine::Options options;
  options.workers = static_cast<std::uint16_t>(argc > 2 ? std::atoi(argv[2]) : 1);
  options.conntrack.wall_offset = weir::wall_time() - weir::boot_time().time_since_epoch();
  auto engine = Engine::create(options, weir::boot_time());
  if (!engine) return fail(engine.error());
  auto control = ControlPlane::open(**engine, {.socket_path = argv[1]});
  if (!control) return fail(control.error());
  (*engine)->start();

  std::atomic<bool> is_stopping = false;
  std::vector<std::jthread> threads;
  for (std::uint16_t i = 0; i < options.workers; ++i) {
    threads.emplace_back([&, i] { work((*engine)->worker(i), is_stopping); });
  }
  std::printf("ready\n");
  std::fflush(stdout);
  while (has_more_input()) (*control)->serve_once(kServeWait);
  is_stopping = true;
  return 0;
}
