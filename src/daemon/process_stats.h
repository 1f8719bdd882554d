#pragma once

#include <vector>

#include "base/clock.h"
#include "base/file_descriptor.h"
#include "control/own/own.h"

namespace weir::daemon {

/// What this process takes of the host, under "process.*".
class ProcessStats {
 public:
  /// While files can still be opened.
  ProcessStats();

  void add_to(std::vector<control::Stat>& stats) const;

 private:
  FileDescriptor statm_;  // /proc/self/statm
  Duration started_;      // Since 1970.
};

}  // namespace weir::daemon
