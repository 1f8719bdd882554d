#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "packet/pool.h"
#include "pipeline/counters.h"
#include "pipeline/output.h"
#include "pipeline/path.h"
#include "pipeline/shared.h"

namespace weir::pipeline {

struct WorkerOptions {
  std::uint16_t number = 0;
  std::size_t batch = packet::kBatchMax;  // Packets a batch; smaller ones are for tests.
  std::size_t small_buffers = 16384;
  std::size_t large_buffers = 512;
};

/// One worker: polls its queue of every port, takes batches down the path, and keeps the timers.
/// Has no thread of its own: whoever calls turn() is the worker's thread.
class Worker {
 public:
  Worker(Shared& shared, const WorkerOptions& options, std::vector<PortQueues> ports);
  ~Worker();

  /// One round over all ports and timers at the moment `now`; `wall` is the same since 1970. True
  /// when there was anything to do.
  bool turn(Time now, Duration wall);

  /// Says that the thread won't touch shared structures until the next turn: call before sleeping.
  void rest();
  /// When turn() has something to do at the latest, without packets; Time::max() for never.
  Time next_deadline() const;
  /// The file descriptors whose input ends a sleep.
  std::vector<int> wait_fds() const;

  /// From any thread: `task` runs on the worker's thread at its next turn. The caller wakes it.
  void post(std::function<void(Worker&)> task);

  Path& path() { return path_; }
  Output& output() { return output_; }
  const Counters& counters() const { return counters_; }
  packet::Pool& pool() { return pool_; }

 private:
  bool receive(std::uint16_t port, io::Queue* queue, bool is_host);
  std::size_t receive_batch(std::uint16_t port, io::Queue& queue, bool is_host);
  void run_tasks();

  Shared& shared_;
  const WorkerOptions options_;
  packet::Pool pool_;
  Counters counters_;
  Output output_;
  Path path_;
  Time now_{};
  bool is_online_ = false;

  std::mutex tasks_lock_;  // Guards tasks_.
  std::vector<std::function<void(Worker&)>> tasks_;
  std::atomic<bool> has_tasks_{false};
};

}  // namespace weir::pipeline
