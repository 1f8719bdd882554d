#include "daemon/reload.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace weir::daemon {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

Settings settings_of(const std::string& text) {
  Settings settings;
  EXPECT_TRUE(parse_config(text, "weir.toml", settings));
  return settings;
}

std::vector<std::string> names(const std::vector<PortSettings>& ports) {
  std::vector<std::string> names;
  for (const PortSettings& port : ports) names.push_back(port.name);
  return names;
}

TEST(Reload, KeepsWhatNeedsARestart) {
  const Changes changes = compare(settings_of("workers = 1\nlog.level = \"info\"\n"),
                                  settings_of("workers = 2\nlog.level = \"debug\"\n"));
  EXPECT_THAT(changes.kept, ElementsAre("workers = 1 (2 needs a restart)"));
  EXPECT_THAT(changes.changed, ElementsAre("log.level = \"debug\""));
  EXPECT_EQ(changes.settings.workers, 1);
  EXPECT_EQ(changes.settings.log_level, "debug");
}

TEST(Reload, PortsComeGoAndChange) {
  const Changes changes = compare(
      settings_of("[ports.lan]\ndevice=\"eth1\"\n[ports.wan]\ndevice=\"eth0\"\n"
                  "[ports.old]\ndevice=\"eth2\"\n"),
      settings_of("\n[ports.lan]\ndevice=\"eth1\"\n[ports.wan]\ndevice=\"eth0\"\n"
                  "driver=\"af_packet\"\n[ports.new]\ndevice=\"eth3\"\n"));
  EXPECT_THAT(changes.gone_ports, ElementsAre("wan", "old")) << "lan has only moved in the file";
  EXPECT_THAT(names(changes.new_ports), ElementsAre("wan", "new"));
}

TEST(Reload, KnobsThatAreNoLongerSetAreNamed) {
  const Changes changes = compare(
      settings_of("[sysctl]\nnf_conntrack_tcp_loose=0\nnf_conntrack_udp_timeout=5\n"),
      settings_of("[sysctl]\nnf_conntrack_udp_timeout=6\n"));
  EXPECT_THAT(changes.gone_sysctls, ElementsAre("net.netfilter.nf_conntrack_tcp_loose"));
  EXPECT_THAT(changes.sysctls,
              ElementsAre(SysctlSetting{"net.netfilter.nf_conntrack_udp_timeout", 6}));
}

TEST(Reload, OfTheSameChangesNothing) {
  const Settings same = settings_of("workers=2\n[ports.lan]\ndevice=\"eth1\"\n");
  const Changes changes = compare(same, same);
  EXPECT_THAT(changes.kept, IsEmpty());
  EXPECT_THAT(changes.changed, IsEmpty());
  EXPECT_THAT(changes.gone_ports, IsEmpty());
  EXPECT_THAT(changes.new_ports, IsEmpty());
}

}  // namespace
}  // namespace weir::daemon
