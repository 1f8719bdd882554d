#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>

#include "base/clock.h"
#include "base/counter.h"
#include "base/error.h"
#include "base/file_descriptor.h"
#include "daemon/heartbeat.h"
#include "pipeline/worker.h"

namespace weir::daemon {

/// The thread of one worker: takes turns while there is something to do, and sleeps otherwise,
/// until a packet, a timer, or wake().
class WorkerThread {
 public:
  /// Errors: what creating the wake-up descriptor says.
  static Result<std::unique_ptr<WorkerThread>> start(pipeline::Worker& worker);
  ~WorkerThread();

  /// From any thread: the worker takes a turn soon.
  void wake();
  /// Rounds that it has taken. They go on while it is alive, with or without packets: at least one
  /// a second.
  std::uint64_t rounds() const { return rounds_.value(); }
  /// Processor time that it has used.
  Duration cpu_time();

  /// From any other thread: runs `task` on the worker's thread and returns when it is done.
  void run(std::function<void(pipeline::Worker&)> task);
  /// From any other thread: each round beats from now on, and rounds come often enough for it.
  void beat_with(Heartbeat heartbeat);

 private:
  WorkerThread(pipeline::Worker& worker, FileDescriptor wake)
      : worker_(worker), wake_(std::move(wake)) {}
  void loop();
  void sleep();

  pipeline::Worker& worker_;
  FileDescriptor wake_;
  Heartbeat heartbeat_;  // The worker's.
  Counter rounds_;
  std::atomic<bool> is_stopping_{false};
  std::thread thread_;
};

}  // namespace weir::daemon
