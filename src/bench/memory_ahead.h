#pragma once

#include <chrono>
#include <thread>

#include "conntrack/table.h"

namespace weir::bench {

/// The control thread's part of a running engine: memory backed ahead of the workers, while this
/// lives.
class MemoryAhead {
 public:
  explicit MemoryAhead(conntrack::Table& table)
      : thread_([&table](const std::stop_token& stop) {
          while (!stop.stop_requested()) {
            table.fault_ahead();
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
          }
        }) {}

 private:
  std::jthread thread_;
};

}  // namespace weir::bench
