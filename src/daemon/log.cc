#include "daemon/log.h"

#include <fmt/format.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
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

int syslog_level(spdlog::level::level_enum level) {
  constexpr int kLevels[] = {7, 7, 6, 4, 3, 2, 6};  // By level_enum, trace to off.
  return kLevels[level];
}

/// A message without its control characters; the lines of a longer one begin with `prefix` each.
class Message final : public spdlog::custom_flag_formatter {
 public:
  explicit Message(bool is_for_journal) : is_for_journal_(is_for_journal) {}

  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& to) override {
    const std::string prefix =
        is_for_journal_ ? fmt::format("<{}>", syslog_level(message.level)) : "";
    to.append(prefix.data(), prefix.data() + prefix.size());
    for (const char c : message.payload) {
      const bool is_shown = c == '\n' || c == '\t' || static_cast<unsigned char>(c) >= 0x20;
      to.push_back(is_shown && c != 0x7f ? c : '?');
      if (c == '\n') to.append(prefix.data(), prefix.data() + prefix.size());
    }
  }
  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<Message>(is_for_journal_);
  }

 private:
  const bool is_for_journal_;
};

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

bool leads_to_journal(const char* journal_stream) {
  struct stat error_stream{};
  if (journal_stream == nullptr || fstat(STDERR_FILENO, &error_stream) != 0) return false;
  return fmt::format("{}:{}", error_stream.st_dev, error_stream.st_ino) == journal_stream;
}

void set_up_log(const std::string& level) {
  const bool is_for_journal = leads_to_journal(std::getenv("JOURNAL_STREAM"));
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  formatter->add_flag<Message>('*', is_for_journal)
      .set_pattern(is_for_journal ? "%*" : "%Y-%m-%dT%H:%M:%S.%e %l %*");
  auto logger =
      std::make_shared<spdlog::logger>("weir", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_formatter(std::move(formatter));
  spdlog::set_default_logger(std::move(logger));
  set_log_level(level);
}

void set_log_level(const std::string& level) { spdlog::set_level(spdlog::level::from_str(level)); }

}  // namespace weir::daemon
