#pragma once

#include <string_view>

namespace weir::rules {

/// Where the log expression's lines go: weir's log, a file, a test. Called by workers,
/// concurrently; must not block. Lines that come too fast are dropped and counted by the sink.
class LogSink {
 public:
  virtual ~LogSink() = default;
  /// One line without its end; `level` is syslog's (0 emerg .. 7 debug).
  virtual void log(int level, std::string_view line) = 0;
};

}  // namespace weir::rules
