#include "daemon/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace weir::daemon {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Result<void> read_text(const std::string& text, Settings& settings) {
  return parse_config(text, "weir.toml", settings);
}

std::string problems_of(const std::string& text) {
  Settings settings;
  const auto read = read_text(text, settings);
  return read ? "" : read.error().text;
}

TEST(Settings, ReadsWhatIsGiven) {
  Settings settings;
  const auto read = read_text(
      "rules = \"gateway.nft\"\nworkers = 2\nfail_policy = \"open\"\nuser = \"weir\"\n"
      "state = \"/tmp/state\"\n"
      "[ports.wan]\ndevice = \"eth0\"\ndriver = \"af_packet\"\n"
      "[ports.lan]\ndevice = \"eth1\"\n"
      "[conntrack]\nmax = 1000\n[limits]\nper_source = 20\nip6_prefix = 56\n[log]\nlevel = "
      "\"debug\"\n"
      "[access]\nreaders = [\"group:adm\", \"user:alice\"]\n"
      "[sysctl]\nnf_conntrack_tcp_loose = 0\nnet.netfilter.nf_conntrack_udp_timeout = 10\n",
      settings);
  ASSERT_TRUE(read) << read.error().text;
  EXPECT_EQ(settings.rules, "gateway.nft");
  EXPECT_EQ(settings.workers, 2);
  EXPECT_EQ(settings.fail_policy, FailPolicy::open);
  EXPECT_EQ(settings.state, "/tmp/state");
  ASSERT_EQ(settings.ports.size(), 2u);
  EXPECT_EQ(settings.ports[0].name, "wan") << "ports are numbered in the order of the file";
  EXPECT_EQ(settings.ports[0].driver, "af_packet");
  EXPECT_EQ(settings.ports[1].device, "eth1");
  EXPECT_EQ(settings.ports[1].driver, "auto");
  EXPECT_EQ(settings.ports[1].where, "weir.toml:9");
  EXPECT_EQ(settings.conntrack_max, 1000u);
  EXPECT_EQ(settings.limit_per_source, 20u);
  EXPECT_EQ(settings.limit_per_zone, 0u);
  EXPECT_EQ(settings.limit_ip6_prefix, 56);
  EXPECT_THAT(settings.readers, ElementsAre("group:adm", "user:alice"));
  EXPECT_THAT(settings.sysctls,
              ElementsAre(SysctlSetting{"net.netfilter.nf_conntrack_tcp_loose", 0},
                          SysctlSetting{"net.netfilter.nf_conntrack_udp_timeout", 10}));
  EXPECT_EQ(settings.socket, "/run/weir/weir.sock") << "what isn't given stays";
}

TEST(Settings, NamesTheNearestKeyAndTheLine) {
  EXPECT_EQ(problems_of("worker = 1\n"), "weir.toml:1: unknown key worker; did you mean workers?");
  EXPECT_EQ(problems_of("\n[log]\nlevle = \"info\"\n"),
            "weir.toml:3: unknown key log.levle; did you mean level?");
  EXPECT_EQ(problems_of("[ports.lan]\ndevice = \"e\"\ndirver = \"auto\"\n"),
            "weir.toml:3: unknown key ports.lan.dirver; did you mean driver?");
  EXPECT_EQ(problems_of("[sysctl]\nnf_conntrack_tcp_lose = 1\n"),
            "weir.toml:2: there is no sysctl nf_conntrack_tcp_lose; did you mean "
            "nf_conntrack_tcp_loose?");
  EXPECT_THAT(problems_of("[conntrack]\nxyzzy = 1\n"), HasSubstr("; known are max"));
}

TEST(Settings, SaysWhatIsExpected) {
  EXPECT_EQ(problems_of("workers = 0\n"), "weir.toml:1: workers must be a number from 1 to 64");
  EXPECT_EQ(problems_of("workers = \"2\"\n"), "weir.toml:1: workers must be a number from 1 to 64");
  EXPECT_EQ(problems_of("fail_policy = \"ajar\"\n"),
            "weir.toml:1: fail_policy must be one of \"closed\", \"open\"");
  EXPECT_EQ(problems_of("access.readers = [\"adm\"]\n"),
            "weir.toml:1: access.readers must be a list of \"user:NAME\" and \"group:NAME\"");
  EXPECT_EQ(problems_of("log = 1\n"), "weir.toml:1: log must be a table: [log]");
  EXPECT_EQ(problems_of("rules = \"a\\u0000b\"\n"),
            "weir.toml:1: rules must be the name of a file");
  EXPECT_EQ(problems_of("sysctl.nf_conntrack_tcp_loose = 2\n"),
            "weir.toml:1: sysctl.nf_conntrack_tcp_loose must be a number from 0 to 1");
  EXPECT_EQ(problems_of("sysctl.nf_conntrack_count = 2\n"),
            "weir.toml:1: sysctl.nf_conntrack_count can only be read");
  EXPECT_EQ(problems_of("[ports.lan]\n"),
            "weir.toml:1: ports.lan needs a device, e.g. device = \"eth1\"");
}

TEST(Settings, FindsAllProblemsAtOnceAndReadsNothing) {
  Settings settings;
  const auto read = read_text(
      "state = \"/tmp/x\"\nworkers = 65\n[log]\nlevel = \"loud\"\ncolour = true\n", settings);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().text,
            "weir.toml:2: workers must be a number from 1 to 64\n"
            "weir.toml:4: log.level must be one of \"trace\", \"debug\", \"info\", \"warn\", "
            "\"err\", \"off\"\n"
            "weir.toml:5: unknown key log.colour; known are level");
  EXPECT_EQ(settings.state, Settings{}.state);
}

TEST(Settings, AcceptsQuotesAndCommentsBeyondAscii) {
  Settings settings;
  ASSERT_TRUE(read_text("workers = 2 # für zwei\nrules = \"gästenetz # 1.nft\"\n", settings));
  EXPECT_EQ(settings.workers, 2);
  EXPECT_EQ(settings.rules, "gästenetz # 1.nft");
}

/// On each of these toml++ asserts, or reports no more than that something is wrong.
TEST(Settings, MalformedFilesAreErrorsWithALine) {
  const std::pair<const char*, const char*> cases[] = {
      {"[%access]\n", "weir.toml:1: "},
      {"[\nlog]\n", "weir.toml:1: "},
      {"[[[log]]]\n", "weir.toml:1: "},
      {"workers = 1\n[[ % ]]\n", "weir.toml:2: "},
      {"für = 1\n", "weir.toml:1: "},
      {"\n\n[ä]\n", "weir.toml:3: "},
      {"workers = 1\nworkers = 1\n", "weir.toml:2: "},
      {"rules = \"\n", "weir.toml:1: "},
  };
  for (const auto& [text, begin] : cases) EXPECT_THAT(problems_of(text), HasSubstr(begin)) << text;
}

TEST(Settings, CheckFindsWhatIsThereTwice) {
  Settings settings;
  ASSERT_TRUE(
      read_text("[ports.lan]\ndevice = \"eth1\"\n[ports.wan]\ndevice = \"eth1\"\n"
                "[ports.dmz]\ndevice = \"a-name-that-is-too-long\"\n",
                settings));
  settings.metrics_listen = "localhost:1";
  const auto checked = check(settings);
  ASSERT_FALSE(checked);
  EXPECT_THAT(checked.error().text,
              HasSubstr("weir.toml:3: device eth1 is in two ports, lan and wan"));
  EXPECT_THAT(checked.error().text, HasSubstr("weir.toml:5: port dmz: device a-name-that-is"));
  EXPECT_THAT(checked.error().text,
              HasSubstr("metrics.listen \"localhost:1\" must be ADDRESS:PORT"));
}

TEST(Settings, ParsesListenAddresses) {
  const auto v4 = parse_listen("127.0.0.1:9638");
  ASSERT_TRUE(v4);
  EXPECT_EQ(v4->address, "127.0.0.1");
  EXPECT_EQ(v4->port, 9638);
  EXPECT_EQ(parse_listen("[::1]:80")->address, "::1");
  for (const char* text : {"", ":80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536",
                           "::1:80", "[::1]", "1.2.3.4:80x", "[1.2.3.4]:80"})
    EXPECT_FALSE(parse_listen(text)) << text;
}

}  // namespace
}  // namespace weir::daemon
