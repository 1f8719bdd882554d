#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "rules/log_sink.h"

namespace weir::daemon {

/// Lines of log expressions on their way from workers to weir's log. Workers only append, under a
/// lock held for that; the control thread writes them out. Bounded: what comes too fast is counted
/// as lost.
class RuleLog final : public rules::LogSink {
 public:
  void log(int level, std::string_view line) override;

  /// Writes what waits to weir's log, and how many lines were lost since the last time.
  void write_out();

 private:
  struct Line {
    int level;
    std::string text;
  };

  std::mutex lock_;  // Guards both.
  std::vector<Line> lines_;
  std::uint64_t lost_ = 0;
};

/// Sends weir's log to standard error: each line with time and level or, when standard error leads
/// to systemd's journal (JOURNAL_STREAM), with the prefix of its syslog priority, "<4>". Control
/// characters are shown as "?". `level` is one of kLogLevels.
void set_up_log(const std::string& level);
void set_log_level(const std::string& level);

/// Whether standard error is the stream that JOURNAL_STREAM names ("DEVICE:INODE").
bool leads_to_journal(const char* journal_stream);

}  // namespace weir::daemon
