// The documents against the tables of keys and knobs.
#include "daemon/settings_keys.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <regex>
#include <sstream>

#include "conntrack/sysctl.h"

namespace weir::daemon {
namespace {

std::string project_file(const char* name) {
  const std::filesystem::path here = __FILE__;
  std::ifstream file(here.parent_path() / "../.." / name);
  EXPECT_TRUE(file) << name;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

/// The rows that docs/CONFIGURATION.md must have, up to the explanation.
std::vector<std::string> key_rows() {
  std::vector<std::string> rows;
  const auto add = [&rows](const std::string& name, const auto& key, const std::string& standard) {
    rows.push_back(fmt::format("| `{}` | {} | {} | {} |", name, key.expects, standard,
                               key.applies == Applies::at_reload ? "reload" : "restart"));
  };
  for (const auto& key : setting_keys()) add(std::string(key.name), key, key.show(Settings{}));
  for (const auto& key : port_keys()) {
    const std::string standard = key.show(PortSettings{});
    add("ports.NAME." + std::string(key.name), key, standard == "none" ? "required" : standard);
  }
  return rows;
}

TEST(SettingsKeys, TheDocumentHasEachWithTypeAndDefault) {
  const std::string document = project_file("docs/CONFIGURATION.md");
  for (const std::string& row : key_rows())
    EXPECT_NE(document.find("\n" + row), std::string::npos) << "missing row: " << row;
}

TEST(SettingsKeys, TheDocumentHasNoOthers) {
  const std::string document = project_file("docs/CONFIGURATION.md");
  const std::vector<std::string> rows = key_rows();
  const std::regex row("\\| `[a-zA-Z_.]+` \\|[^|]*\\|[^|]*\\| (reload|restart) \\|");
  for (std::sregex_iterator at(document.begin(), document.end(), row), end; at != end; ++at)
    EXPECT_NE(std::find(rows.begin(), rows.end(), at->str()), rows.end()) << at->str();
}

TEST(SettingsKeys, TheManPageHasEach) {
  const std::string page = project_file("man/weir.toml.5");
  for (const auto& key : setting_keys())
    EXPECT_NE(page.find(fmt::format("\n.It Ic {} ", key.name)), std::string::npos) << key.name;
  for (const auto& key : port_keys())
    EXPECT_NE(page.find(fmt::format("\n.It Ic ports.NAME.{} ", key.name)), std::string::npos)
        << key.name;
}

TEST(SettingsKeys, TheDocumentHasEachKnob) {
  const std::string document = project_file("docs/CONFIGURATION.md");
  conntrack::Sysctl standard;
  for (const conntrack::SysctlName& knob : conntrack::sysctl_names()) {
    if (knob.is_read_only) continue;
    const std::string row = fmt::format("| `{}` | {} |", knob.name, knob.knob(standard).get());
    EXPECT_NE(document.find("\n" + row), std::string::npos) << "missing row: " << row;
  }
}

TEST(SettingsKeys, TheExampleCanBeRead) {
  Settings settings;
  const auto read =
      parse_config(project_file("examples/weir.toml"), "examples/weir.toml", settings);
  EXPECT_TRUE(read) << read.error().text;
  const auto checked = check(settings);
  EXPECT_TRUE(checked) << checked.error().text;
}

TEST(SettingsKeys, NearestIsNearEnough) {
  constexpr std::string_view kKnown[] = {"workers", "rules", "socket", "state"};
  EXPECT_EQ(nearest("worker", kKnown), "workers");
  EXPECT_EQ(nearest("sokcet", kKnown), "socket");
  EXPECT_EQ(nearest("Rules", kKnown), "rules");
  EXPECT_EQ(nearest("metrics", kKnown), "");
  EXPECT_EQ(nearest(std::string(5000, 'a'), kKnown), "");
}

}  // namespace
}  // namespace weir::daemon
