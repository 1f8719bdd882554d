#include "daemon/settings.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

namespace weir::daemon {
namespace {

Result<void> read_text(const std::string& text, Settings& settings) {
  char path[] = "/tmp/weir-settings-XXXXXX";
  const int descriptor = mkstemp(path);
  EXPECT_GE(descriptor, 0);
  close(descriptor);
  std::ofstream(path) << text;
  auto read = read_config(path, settings);
  unlink(path);
  return read;
}

TEST(Settings, AcceptsQuotesAndCommentsBeyondAscii) {
  Settings settings;
  ASSERT_TRUE(read_text("workers = 2 # für zwei\nrules = \"gästenetz # 1.nft\"\n", settings));
  EXPECT_EQ(settings.workers, 2);
  EXPECT_EQ(settings.rules, "gästenetz # 1.nft");
}

TEST(Settings, RefusesWhatTheParserTakesForGranted) {
  Settings settings;
  for (const char* text : {"[%access]\n", "[\nlog]\n", "[[[log]]]\n", "workers = 1\n[[ % ]]\n",
                           "für = 1\n", "[ä]\n"}) {
    const auto read = read_text(text, settings);
    ASSERT_FALSE(read) << text;
    EXPECT_NE(read.error().text.find("line "), std::string::npos) << read.error().text;
  }
}

}  // namespace
}  // namespace weir::daemon
