#include "daemon/log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace weir::daemon {
namespace {

/// Standard error goes into a pipe while it lives.
class CaughtErrorStream {
 public:
  CaughtErrorStream() : before_(dup(STDERR_FILENO)) {
    EXPECT_EQ(pipe2(ends_, O_NONBLOCK | O_CLOEXEC), 0);
    dup2(ends_[1], STDERR_FILENO);
  }
  ~CaughtErrorStream() {
    dup2(before_, STDERR_FILENO);
    close(before_);
    close(ends_[0]);
    close(ends_[1]);
  }
  std::string name() const {
    struct stat status{};
    fstat(STDERR_FILENO, &status);
    return fmt::format("{}:{}", status.st_dev, status.st_ino);
  }
  std::string text() const {
    char buffer[4096];
    const ssize_t got = read(ends_[0], buffer, sizeof buffer);
    return got < 0 ? "" : std::string(buffer, static_cast<std::size_t>(got));
  }

 private:
  int before_;
  int ends_[2] = {-1, -1};
};

TEST(Log, HasPrioritiesForTheJournal) {
  const CaughtErrorStream caught;
  setenv("JOURNAL_STREAM", caught.name().c_str(), 1);
  set_up_log("info");
  unsetenv("JOURNAL_STREAM");
  spdlog::warn("one\ntwo\x1b[1m");
  spdlog::debug("hidden");
  spdlog::error("three");
  spdlog::default_logger()->flush();
  EXPECT_EQ(caught.text(), "<4>one\n<4>two?[1m\n<3>three\n");
}

TEST(Log, HasTimeAndLevelElsewhere) {
  const CaughtErrorStream caught;
  setenv("JOURNAL_STREAM", "1:1", 1);
  set_up_log("warn");
  unsetenv("JOURNAL_STREAM");
  spdlog::info("hidden");
  set_log_level("debug");
  spdlog::debug("shown");
  spdlog::default_logger()->flush();
  const std::string text = caught.text();
  EXPECT_TRUE(text.ends_with(" debug shown\n")) << text;
  EXPECT_EQ(text.find("hidden"), std::string::npos);
}

TEST(Log, WritesTheLinesOfRulesWithTheirLevel) {
  const CaughtErrorStream caught;
  setenv("JOURNAL_STREAM", caught.name().c_str(), 1);
  set_up_log("info");
  unsetenv("JOURNAL_STREAM");
  RuleLog log;
  log.log(4, "IN=eth0");
  log.log(7, "too low");
  log.write_out();
  spdlog::default_logger()->flush();
  EXPECT_EQ(caught.text(), "<4>rule: IN=eth0\n");
}

}  // namespace
}  // namespace weir::daemon
