#include "daemon/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <utility>

namespace weir::daemon {
namespace {

constexpr std::size_t kMaxLines = 4096;

/// syslog's level as spdlog's.
spdlog::level::level_enum level_of(int syslog_level) {
  if (syslog_level <= 2) return spdlog::level::critical;
  if (syslog_level == 3) return spdlog::level::err;
  if (syslog_level == 4) return spdlog::level::warn;
  return syslog_level == 7 ? spdlog::level::debug : spdlog::level::info;
}

}  // namespace

void RuleLog::log(int level, std::string_view line) {
  const std::lock_guard guard(lock_);
  if (lines_.size() == kMaxLines) {
    ++lost_;
  } else {
    lines_.push_back({level, std::string(line)});
  }
}

void RuleLog::write_out() {
  std::vector<Line> lines;
  std::uint64_t lost = 0;
  {
    const std::lock_guard guard(lock_);
    lines.swap(lines_);
    lost = std::exchange(lost_, 0);
  }
  for (const Line& line : lines) spdlog::log(level_of(line.level), "rule: {}", line.text);
  if (lost > 0)
    spdlog::warn("rule: {} lines came too fast and were not written; limit the log rule's rate",
                 lost);
}

bool set_up_log(const std::string& level) {
  const auto parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off && level != "off") return false;
  spdlog::set_default_logger(spdlog::stderr_logger_mt("weir"));
  spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e %l %v");
  spdlog::set_level(parsed);
  return true;
}

}  // namespace weir::daemon
