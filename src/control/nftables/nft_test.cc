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

/// The real nft against weir's subsystem behind the real server, and against the kernel in a namespace of its own: both
/// get the same commands and must answer with the same text.
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
  Engine() : server_({.socket_path = socket(), .socket_mode = 0600, .access = {}}) {
    nftables_ = std::make_unique<Nftables>(ruleset_, server_.server());
    server_.server().add(*nftables_);
    server_.start();
  }
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
  both("sh -c 'nft list ruleset > /tmp/weir-rules-$$ && nft flush ruleset && "
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
  both("nft 'add table inet u; add chain inet t b; add rule inet t b counter; "
       "delete rule inet t a handle 2; delete chain inet t nosuch'");
  EXPECT_EQ(both("nft -a list ruleset"), before);
  // The kernel blames the rule that closes the loop, weir the batch.
  const std::string loop =
      "nft 'flush ruleset; add table inet t; add chain inet t a; add rule inet t a jump a; "
      "add chain inet t b { type filter hook input priority 0; }; add rule inet t b jump a'";
  for (const Output& refused : {engine_.run(loop), kernel_.run(loop)}) {
    EXPECT_NE(refused.status, 0);
    EXPECT_NE(refused.text.find("Too many links"), std::string::npos) << refused.text;
  }
  EXPECT_EQ(both("nft -a list ruleset"), before);
}

TEST_F(Nft, CheckChangesNothing) {
  both("nft add table inet t");
  both("nft -c add table inet u");
  both("nft -c add chain inet nosuch c");
  both("nft -c 'add chain inet t a; add rule inet t a counter'");
  EXPECT_EQ(both("nft list ruleset"), "table inet t {\n}\n");
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

TEST_F(Nft, NamesWhatIsMissing) {
  const Output table = engine_.run("nft add table arp t");
  EXPECT_NE(table.status, 0);
  EXPECT_NE(table.text.find("Operation not supported"), std::string::npos) << table.text;
}

}  // namespace
}  // namespace weir::control
