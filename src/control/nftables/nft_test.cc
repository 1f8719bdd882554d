#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/epoch.h"
#include "control/nftables/nftables.h"
#include "control/server/server_fixture.h"
#include "rules/ruleset.h"

/// The real nft against weir's subsystem behind the real server, and against the kernel in a
/// namespace of its own: both get the same commands and must answer with the same text.
namespace weir::control {
namespace {

using testing::Output;

std::string rulesets_directory() {
  const std::filesystem::path here = __FILE__;
  return (here.parent_path() / "../../../tests/rulesets").lexically_normal();
}

std::vector<std::string> rulesets() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(rulesets_directory())) {
    if (entry.path().extension() == ".nft") files.push_back(entry.path().stem());
  }
  std::ranges::sort(files);
  return files;
}

/// The engine's side: a ruleset that no worker runs, served on a socket.
class Engine {
 public:
  Engine() : server_({.socket_path = socket(), .socket_file = {.mode = 0600}, .access = {}}) {
    nftables_ = std::make_unique<Nftables>(ruleset_, server_.server());
    server_.server().add(*nftables_);
    server_.start();
  }
  ~Engine() { server_.stop(); }
  Output run(const std::string& command) { return testing::run_tool(socket(), command); }

 private:
  std::string socket() const { return directory_.file("socket"); }

  testing::TemporaryDirectory directory_;
  Epochs epochs_{1};
  rules::Ruleset ruleset_{epochs_};
  testing::ServerThread server_;
  std::unique_ptr<Nftables> nftables_;
};

/// The kernel's side: a fresh network namespace.
class Kernel {
 public:
  Kernel() : name_("rules-" + std::to_string(getpid())) {
    is_there_ = testing::run("ip netns add " + name_).status == 0;
  }
  ~Kernel() {
    if (is_there_) testing::run("ip netns del " + name_);
  }
  bool is_there() const { return is_there_; }
  Output run(const std::string& command) {
    return testing::run("ip netns exec " + name_ + " timeout 20 " + command);
  }

 private:
  std::string name_;
  bool is_there_ = false;
};

class Nft : public ::testing::Test {
 protected:
  void SetUp() override {
    if (testing::run("nft --version").status != 0) GTEST_SKIP() << "there is no nft here";
    if (!kernel_.is_there()) GTEST_SKIP() << "network namespaces need root";
  }

  /// Runs the command on both; returns the engine's text.
  std::string both(const std::string& command) {
    const Output ours = engine_.run(command);
    const Output theirs = kernel_.run(command);
    EXPECT_EQ(ours.text, theirs.text) << command;
    EXPECT_EQ(ours.status, theirs.status) << command;
    return ours.text;
  }

  Engine engine_;
  Kernel kernel_;
};

class NftRuleset : public Nft, public ::testing::WithParamInterface<std::string> {};

TEST_P(NftRuleset, IsListedAsTheKernelListsIt) {
  const std::string file = rulesets_directory() + "/" + GetParam() + ".nft";
  both("nft -f " + file);
  EXPECT_NE(both("nft -a list ruleset"), "");
  both("nft list ruleset");
  both("nft --json list ruleset");
  both("nft -s list ruleset");
  // What is listed can be loaded again.
  both(
      "sh -c 'nft list ruleset > /tmp/weir-rules-$$ && nft flush ruleset && "
      "nft -f /tmp/weir-rules-$$ && nft list ruleset; rm /tmp/weir-rules-$$'");
  both("nft flush ruleset");
  EXPECT_EQ(both("nft list ruleset"), "");
}

INSTANTIATE_TEST_SUITE_P(Files, NftRuleset, ::testing::ValuesIn(rulesets()),
                         [](const auto& info) { return info.param; });

TEST_F(Nft, EditsRules) {
  both("nft add table inet t");
  both("nft 'add chain inet t c { type filter hook input priority 0; }'");
  both("nft add chain inet t d");
  both("nft add rule inet t c tcp dport 1 accept");
  both("nft add rule inet t c tcp dport 3 accept");
  both("nft insert rule inet t c tcp dport 0 accept");
  both("nft add rule inet t c position 3 tcp dport 2 jump d");
  both("nft insert rule inet t c position 3 tcp dport 7 return");
  both("nft replace rule inet t c handle 4 counter");
  both("nft add rule inet t c tcp dport 9 counter");
  both("nft add rule inet t c tcp dport 9 'jump { counter; }'");
  both("nft -a list ruleset");
  both("nft delete rule inet t c handle 3");
  both("nft delete rule inet t c handle 99");
  both("nft -a list chain inet t c");
  both("nft 'add chain inet t c { policy drop; }'");
  both("nft rename chain inet t d e");
  both("nft -a list table inet t");
  both("nft flush chain inet t c");
  both("nft -a list ruleset");
}

TEST_F(Nft, RefusesAsTheKernelDoes) {
  both("nft add table inet t");
  both("nft create table inet t");
  both("nft 'add chain inet t base { type filter hook input priority 0; }'");
  both("nft add chain inet t a");
  both("nft add chain inet t b");
  both("nft create chain inet t a");
  both("nft add chain inet nosuch a");
  both("nft add rule inet t nosuch accept");
  both("nft add rule inet t base jump nosuch");
  both("nft add rule inet t base jump base");
  both("nft add rule inet t base jump a");
  both("nft add rule inet t a jump b");
  both("nft add rule inet t b jump a");
  both("nft delete chain inet t a");
  both("nft 'delete table inet nosuch'");
  both("nft 'add chain inet t base { type filter hook output priority 0; }'");
  both("nft 'add chain inet t n { type nat hook forward priority 0; }'");
  both("nft 'add chain inet t n { type nat hook prerouting priority -300; }'");
  both("nft 'add chain inet t a { policy drop; }'");
  both("nft add rule inet t base meta pkttype set host");
  both("nft -a list ruleset");
}

TEST_F(Nft, BatchAppliesWholeOrNotAtAll) {
  both("nft 'add table inet t; add chain inet t a; add rule inet t a counter'");
  const std::string before = both("nft -a list ruleset");
  both(
      "nft 'add table inet u; add chain inet t b; add rule inet t b counter; "
      "delete rule inet t a handle 2; delete chain inet t nosuch'");
  EXPECT_EQ(both("nft -a list ruleset"), before);
  both(
      "nft 'add rule inet t a tcp dport { 1, 2 } jump { ip saddr { 192.0.2.1, 192.0.2.2 } drop; }; "
      "delete chain inet t nosuch'");
  EXPECT_EQ(both("nft -a list ruleset"), before);
  // The rule that closes the loop is to blame.
  const std::string loop =
      "'flush ruleset; add table inet t; add chain inet t a; add rule inet t a jump a; "
      "add chain inet t b { type filter hook input priority 0; }; add rule inet t b jump a'";
  EXPECT_NE(both("nft " + loop).find("Too many links"), std::string::npos);
  EXPECT_NE(both("nft -c " + loop).find("Too many links"), std::string::npos);
  EXPECT_EQ(both("nft -a list ruleset"), before);
}

TEST_F(Nft, CheckChangesNothing) {
  both("nft add table inet t");
  both("nft -c add table inet u");
  both("nft -c add chain inet nosuch c");
  both("nft -c 'add chain inet t a; add rule inet t a counter'");
  EXPECT_EQ(both("nft list ruleset"), "table inet t {\n}\n");
}

TEST_F(Nft, MonitorHearsOfEveryStep) {
  const std::string heard = both(
      "sh -c 'F=$(mktemp); timeout 3 nft monitor > $F & sleep 1; "
      "nft add table inet t; nft add table inet t; "
      "nft \"add chain inet t c { type filter hook input priority 0; }\"; nft add chain inet t d; "
      "nft add rule inet t c tcp dport 1 accept; nft add rule inet t c tcp dport 3 accept; "
      "nft insert rule inet t c tcp dport 0 accept; nft add rule inet t c position 3 jump d; "
      "nft replace rule inet t c handle 4 counter; nft delete rule inet t c handle 3; "
      "nft \"add chain inet t c { policy drop; }\"; nft delete table inet t; "
      "wait; sed \"s/ by process.*//\" $F; rm $F'");
  EXPECT_NE(heard.find("delete rule inet t c handle 3"), std::string::npos) << heard;
}

TEST_F(Nft, EchoesWhatItMade) {
  both("nft add table inet t");
  both("nft add chain inet t c");
  const Output echo = engine_.run("nft -e -a add rule inet t c tcp dport 9 counter");
  EXPECT_NE(echo.text.find("add rule inet t c tcp dport 9 counter packets 0 bytes 0 # handle 2"),
            std::string::npos)
      << echo.text;
  EXPECT_NE(echo.text.find("# new generation 4 by process"), std::string::npos) << echo.text;
}

TEST_F(Nft, EchoesAChainWithoutANameAsTheKernelDoes) {
  both("nft add table inet t");
  both("nft add chain inet t c");
  const std::string echo = both(
      "sh -c 'nft -e add rule inet t c udp dport 5 \"jump { counter; drop; }\" | "
      "sed \"s/ by process.*//; s/__chain[0-9]*/CHAIN/\"'");
  EXPECT_NE(echo.find("udp dport 5"), std::string::npos) << echo;
}

TEST_F(Nft, NamesWhatIsMissing) {
  const Output table = engine_.run("nft add table arp t");
  EXPECT_NE(table.status, 0);
  EXPECT_NE(table.text.find("Operation not supported"), std::string::npos) << table.text;
}

constexpr const char* kSets =
    "nft 'add table inet t; add chain inet t x; add counter inet t c { packets 5 bytes 600; }; "
    "add quota inet t q { over 25 mbytes used 10 bytes; }; "
    "add set inet t h { type ipv4_addr; elements = { 1.2.3.4 comment \"x\", 5.6.7.8 }; }; "
    "add set inet t i { type ipv4_addr; flags interval; elements = { 10.0.0.0/8, "
    "192.168.1.1-192.168.1.9 }; }; "
    "add set inet t b { type ipv4_addr . inet_service; flags interval; "
    "elements = { 10.0.0.0/8 . 80-90, 1.1.1.1 . 22 }; }; "
    "add set inet t few { type ipv4_addr; size 3; flags interval; elements = { 1.0.0.0/8 }; }; "
    "add map inet t m { type ipv4_addr : mark; elements = { 1.1.1.1 : 5, * : 9 }; }; "
    "add map inet t v { type inet_service : verdict; elements = { 80 : jump x, 22 : drop }; }'";

TEST_F(Nft, EditsElements) {
  both(kSets);
  for (const char* command : {"get element inet t i '{ 10.1.2.3 }'",
                              "get element inet t h '{ 1.2.3.4 }'",
                              "get element inet t h '{ 1.2.3.5 }'",
                              "get element inet t b '{ 10.1.1.1 . 85 }'",
                              "add element inet t h '{ 1.2.3.4 }'",
                              "create element inet t h '{ 1.2.3.4 }'",
                              "add element inet t i '{ 10.2.0.0/16 }'",
                              "add element inet t i '{ 10.0.0.0/8 }'",
                              "create element inet t i '{ 10.0.0.0/8 }'",
                              "add element inet t i '{ 9.0.0.0-10.0.0.5 }'",
                              "add element inet t b '{ 10.3.0.0/16 . 85 }'",
                              "create element inet t b '{ 10.0.0.0/8 . 80-90 }'",
                              "add element inet t few '{ 3.0.0.0/8 }'",
                              "add element inet t few '{ 5.0.0.0/8 }'",
                              "add element inet t few '{ 7.0.0.0/8 }'",
                              "add element inet t m '{ 1.1.1.1 : 6 }'",
                              "add element inet t m '{ 1.1.1.1 : 5 }'",
                              "add element inet t m '{ * : 10 }'",
                              "add element inet t v '{ 443 : jump nosuch }'",
                              "add element inet t v '{ 443 : goto x }'",
                              "delete chain inet t x",
                              "delete element inet t v '{ 443 }'",
                              "delete element inet t v '{ 444 }'",
                              "delete element inet t i '{ 10.0.0.0/8 }'",
                              "delete element inet t i '{ 10.0.0.0/8 }'",
                              "delete element inet t b '{ 1.1.1.1 . 22 }'",
                              "delete element inet t m '{ * }'",
                              "flush set inet t h",
                              "list set inet t h",
                              "-j list set inet t i",
                              "-j list map inet t v",
                              "-a list ruleset"}) {
    both(std::string("nft ") + command);
  }
}

TEST_F(Nft, ElementsOfABatchComeAndGoTogether) {
  both(kSets);
  both(
      "nft 'flush set inet t h; add element inet t h { 8.8.8.8 }; delete element inet t h { "
      "8.8.8.8 }; "
      "add element inet t h { 8.8.8.8, 8.8.4.4 comment \"two\" }; flush set inet t i; "
      "add element inet t i { 1.0.0.0/8, 2.0.0.0/8, 3.0.0.0-3.0.0.9 }'");
  const std::string before = both("nft -a list ruleset");
  both(
      "nft 'flush set inet t h; add element inet t h { 9.9.9.9 }; flush set inet t i; "
      "add element inet t i { 77.0.0.0/8 }; delete element inet t b { 10.0.0.0/8 . 80-90 }; "
      "delete element inet t m { * }; delete element inet t v { 80 }; delete chain inet t nosuch'");
  EXPECT_EQ(both("nft -a list ruleset"), before);
}

TEST_F(Nft, ResetsNamedObjects) {
  both(kSets);
  both("nft list counters");
  both("nft reset counters");
  both("nft reset quotas");
  both("nft list ruleset");
  both("nft add rule inet t x counter name c");
  both("nft delete counter inet t c");
  both("nft delete quota inet t q");
  both("nft -a list ruleset");
}

}  // namespace
}  // namespace weir::control
