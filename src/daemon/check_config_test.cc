#include "daemon/check_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/temporary_folder.h"

namespace weir::daemon {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class CheckConfig : public testing::Test {
 protected:
  std::string write(const std::string& name, const std::string& text) {
    const std::string path = folder_->file(name);
    std::ofstream(path) << text;
    return path;
  }

  Result<TemporaryFolder> folder_ = TemporaryFolder::make("check-config");
};

TEST_F(CheckConfig, GoodOneIsSummarised) {
  const std::string rules = write("gateway.nft", "table ip t {\n  chain c {\n    counter accept\n  }\n}\n");
  const std::string file =
      write("weir.toml", "rules = \"" + rules + "\"\nworkers = 2\n[ports.lan]\ndevice = \"lo\"\n");
  const ConfigReport report = check_config(file, true);
  EXPECT_THAT(report.problems, IsEmpty());
  EXPECT_THAT(report.notes, Contains("port lan: device lo, driver auto"));
  EXPECT_THAT(report.notes, Contains("workers = 2"));
  EXPECT_THAT(report.notes, Contains("rules: " + rules));
}

TEST_F(CheckConfig, AllProblemsAreFoundAtOnce) {
  const std::string rules = write("gateway.nft", "table ip t {\n  chain c { nonsense }\n}\n");
  const std::string file = write("weir.toml", "rules = \"" + rules +
                                                  "\"\nuser = \"nobody-of-that-name\"\n"
                                                  "[ports.lan]\ndevice = \"no-such-dev\"\n"
                                                  "[access]\nreaders = [\"group:no-such-group\"]\n");
  const ConfigReport report = check_config(file, true);
  EXPECT_THAT(report.problems,
              Contains(file + ":3: port lan: there is no device no-such-dev; `ip link` lists them"));
  EXPECT_THAT(report.problems, Contains(file + ": user: there is no user nobody-of-that-name"));
  EXPECT_THAT(report.problems, Contains(file + ": access: there is no group:no-such-group"));
  EXPECT_THAT(report.problems, Contains(HasSubstr("gateway.nft:2:")));
}

TEST_F(CheckConfig, WithoutTheHostItsNamesAreNotLookedUp) {
  const std::string file = write("weir.toml", "[ports.lan]\ndevice = \"no-such-dev\"\n");
  EXPECT_THAT(check_config(file, false).problems, IsEmpty());
}

TEST_F(CheckConfig, WhatCannotBeReadIsOneProblem) {
  EXPECT_THAT(check_config(folder_->file("none.toml"), true).problems,
              ElementsAre(HasSubstr("No such file")));
  const std::string file = write("weir.toml", "worker = 1\n[log]\nlevel = 3\n");
  EXPECT_THAT(check_config(file, true).problems,
              ElementsAre(HasSubstr(":1: unknown key worker; did you mean workers?"),
                          HasSubstr(":3: log.level must be one of")));
}

}  // namespace
}  // namespace weir::daemon
