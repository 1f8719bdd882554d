#include "pipeline/worker.h"

#include <algorithm>
#include <utility>

namespace weir::pipeline {
namespace {

constexpr std::size_t kBatchesAtOnce = 4;

}  // namespace

Worker::Worker(Shared& shared, const WorkerOptions& options, std::vector<PortQueues> ports)
    : shared_(shared),
      options_(options),
      pool_(options.small_buffers, options.large_buffers),
      output_(std::move(ports)),
      path_({.shared = shared,
             .worker = options.number,
             .pool = pool_,
             .output = output_,
             .counters = counters_}) {}

Worker::~Worker() { rest(); }

bool Worker::turn(Time now, Duration wall) {
  conntrack::Tracker& tracker = shared_.conntrack.tracker(options_.number);
  if (!is_online_) {
    tracker.online();
    is_online_ = true;
  }
  if (has_tasks_.load(std::memory_order_acquire)) run_tasks();

  now_ = now;
  path_.set_time(now, wall);
  bool is_busy = tracker.serve_mailbox(now) > 0;
  for (std::uint16_t port = 0; port < output_.port_count(); ++port) {
    is_busy |= receive(port, output_.queues(port).wire, false);
    is_busy |= receive(port, output_.queues(port).host, true);
  }
  path_.poll();
  output_.flush(pool_);
  output_.kick();
  is_busy |= tracker.expire(now) > 0;
  tracker.quiet();
  return is_busy;
}

/// A few batches of one queue, so that what they send goes out in few calls (io::Queue::kick).
bool Worker::receive(std::uint16_t port, io::Queue* queue, bool is_host) {
  if (queue == nullptr) return false;
  bool is_busy = false;
  for (std::size_t i = 0; i < kBatchesAtOnce; ++i) {
    const std::size_t count = receive_batch(port, *queue, is_host);
    is_busy |= count > 0;
    if (count < options_.batch) break;
  }
  return is_busy;
}

std::size_t Worker::receive_batch(std::uint16_t port, io::Queue& queue, bool is_host) {
  packet::Batch batch(options_.batch);
  batch.now = now_;
  const std::size_t count = queue.receive(batch, pool_);
  if (count == 0) return 0;
  for (packet::Packet* packet : batch) {
    packet->in_port = port;
    if (packet->arrived == Time{}) packet->arrived = now_;
  }
  if (is_host) {
    path_.from_host(batch);
  } else {
    path_.from_wire(batch);
  }
  output_.flush(pool_);
  return count;
}

void Worker::rest() {
  if (!is_online_) return;
  shared_.conntrack.tracker(options_.number).offline();
  is_online_ = false;
}

Time Worker::next_deadline() const {
  return std::min(path_.next_deadline(),
                  shared_.conntrack.tracker(options_.number).next_deadline());
}

std::vector<int> Worker::wait_fds() const {
  std::vector<int> fds;
  for (std::uint16_t port = 0; port < output_.port_count(); ++port) {
    for (const io::Queue* queue : {output_.queues(port).wire, output_.queues(port).host}) {
      if (queue != nullptr && queue->wait_fd() >= 0) fds.push_back(queue->wait_fd());
    }
  }
  return fds;
}

void Worker::post(std::function<void(Worker&)> task) {
  const std::lock_guard lock(tasks_lock_);
  tasks_.push_back(std::move(task));
  has_tasks_.store(true, std::memory_order_release);
}

void Worker::run_tasks() {
  std::vector<std::function<void(Worker&)>> tasks;
  {
    const std::lock_guard lock(tasks_lock_);
    tasks.swap(tasks_);
    has_tasks_.store(false, std::memory_order_relaxed);
  }
  for (const auto& task : tasks) task(*this);
}

}  // namespace weir::pipeline
