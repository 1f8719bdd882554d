#include "daemon/worker_thread.h"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <time.h>

#include <algorithm>
#include <future>
#include <vector>

#include "base/clock.h"

namespace weir::daemon {
namespace {

constexpr Duration kLongestSleep = std::chrono::seconds(1);

timespec to_timespec(Duration duration) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(duration);
  return {.tv_sec = seconds.count(), .tv_nsec = (duration - seconds).count()};
}

}  // namespace

Result<std::unique_ptr<WorkerThread>> WorkerThread::start(pipeline::Worker& worker) {
  FileDescriptor wake(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!wake.is_open()) return std::unexpected(system_error("eventfd"));
  std::unique_ptr<WorkerThread> made(new WorkerThread(worker, std::move(wake)));
  made->thread_ = std::thread([thread = made.get()] { thread->loop(); });
  return made;
}

WorkerThread::~WorkerThread() {
  is_stopping_.store(true, std::memory_order_release);
  wake();
  thread_.join();
}

void WorkerThread::wake() {
  const std::uint64_t one = 1;
  if (write(wake_.get(), &one, sizeof one) < 0) return;  // It is awake as often as it can be told.
}

Duration WorkerThread::cpu_time() {
  clockid_t clock{};
  timespec used{};
  if (pthread_getcpuclockid(thread_.native_handle(), &clock) != 0 ||
      clock_gettime(clock, &used) != 0)
    return {};
  return std::chrono::seconds(used.tv_sec) + std::chrono::nanoseconds(used.tv_nsec);
}

void WorkerThread::run(std::function<void(pipeline::Worker&)> task) {
  std::promise<void> done;
  worker_.post([&](pipeline::Worker& worker) {
    task(worker);
    done.set_value();
  });
  wake();
  done.get_future().wait();
}

void WorkerThread::beat_with(Heartbeat heartbeat) {
  run([this, heartbeat](pipeline::Worker&) { heartbeat_ = heartbeat; });
}

void WorkerThread::loop() {
  pthread_setname_np(pthread_self(), "weir-worker");
  while (!is_stopping_.load(std::memory_order_acquire)) {
    const Time now = boot_time();
    heartbeat_.beat(now);
    if (!worker_.turn(now, wall_time())) sleep();
    rounds_.add();
  }
  worker_.rest();
}

void WorkerThread::sleep() {
  std::vector<pollfd> fds = {{.fd = wake_.get(), .events = POLLIN, .revents = 0}};
  for (const int fd : worker_.wait_fds()) fds.push_back({.fd = fd, .events = POLLIN, .revents = 0});
  worker_.rest();

  const Time now = boot_time();
  const Time deadline = worker_.next_deadline();
  const Duration most = heartbeat_.is_heard() ? Heartbeat::kPace : kLongestSleep;
  const Duration longest = deadline <= now ? Duration{} : std::min<Duration>(most, deadline - now);
  const timespec timeout = to_timespec(longest);
  ppoll(fds.data(), fds.size(), &timeout, nullptr);

  std::uint64_t count = 0;
  if (read(wake_.get(), &count, sizeof count) < 0) return;  // Something else woke us.
}

}  // namespace weir::daemon
